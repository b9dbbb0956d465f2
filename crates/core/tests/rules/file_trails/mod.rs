//! What request files tell: copies are noticed, and no honest site is suspected.

mod copies;
mod honest_sites;
mod properties;
mod seat;
