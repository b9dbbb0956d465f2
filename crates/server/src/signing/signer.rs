//! Finds the key that signs a document, and the next key set.

use chrono::{DateTime, Utc};

use super::turn::{Turn, active_key};
use super::{Key, SigningError, SigningKeys};

impl SigningKeys {
    /// The id of the key that signs at `now`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn signer_id(&self, now: DateTime<Utc>) -> Result<&str, SigningError> {
        Ok(&self.signer(now)?.kid)
    }

    /// The id of the key that signs the next key set at `now`: without another one, the key that
    /// was trusted last, so that 'keys rotate --at-once' works.
    ///
    /// # Errors
    /// If no key may sign it.
    pub fn signer_of_next(&self, now: DateTime<Utc>) -> Result<&str, SigningError> {
        Ok(&self.signer_of_set(now)?.0.kid)
    }

    /// Whether another key may sign at `now`, so that this one can be revoked.
    #[must_use]
    pub fn can_do_without(&self, kid: &str, now: DateTime<Utc>) -> bool {
        let others = self.keys.iter().filter(|key| key.kid != kid);
        self.signer_of(others, now).is_some()
    }

    /// Whether some key may sign at `now`.
    ///
    /// # Errors
    /// [`SigningError::NoneSignsNow`], [`SigningError::NoneSignsYet`] and
    /// [`SigningError::KeysMissing`], which say what to do.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), SigningError> {
        self.signer(now).map(|_| ())
    }

    /// The key that signs now.
    pub(super) fn signer(&self, now: DateTime<Utc>) -> Result<&Key, SigningError> {
        self.signer_of(self.keys.iter(), now)
            .ok_or_else(|| self.why_none_signs(now))
    }

    /// The key that signs the next set, and the date of that set. If no key may sign any more, it
    /// is the one that was trusted last, and the set has the last date of that trust, with which
    /// sites accept its signature.
    ///
    /// # Errors
    /// [`SigningError::NoneSignsYet`], [`SigningError::KeysMissing`].
    pub(super) fn signer_of_set(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(&Key, DateTime<Utc>), SigningError> {
        match self.signer(now) {
            Ok(key) => Ok((key, now)),
            Err(error) => self.last_signer(now).ok_or(error),
        }
    }

    /// The key whose trust ended last before `now`, and the end.
    fn last_signer(&self, now: DateTime<Utc>) -> Option<(&Key, DateTime<Utc>)> {
        let turns = self.signing_turns(self.keys.iter());
        let ended = turns.filter_map(|(key, turn)| Some((key, turn.until.filter(|it| *it < now)?)));
        ended.max_by_key(|(_, until)| *until)
    }

    fn why_none_signs(&self, now: DateTime<Utc>) -> SigningError {
        if self.last_signer(now).is_some() {
            return SigningError::NoneSignsNow;
        }
        let turns = self.signing_turns(self.keys.iter());
        match turns.map(|(_, turn)| turn.from).min() {
            Some(from) => SigningError::NoneSignsYet { from },
            None => SigningError::KeysMissing(self.directory.display().to_string()),
        }
    }

    /// The key that would sign if there were only these keys.
    pub(super) fn signer_of<'a>(
        &self,
        keys: impl Iterator<Item = &'a Key>,
        now: DateTime<Utc>,
    ) -> Option<&'a Key> {
        active_key(self.signing_turns(keys), now)
    }

    /// Those of these keys that are published and not revoked, with their periods.
    fn signing_turns<'a>(
        &self,
        keys: impl Iterator<Item = &'a Key>,
    ) -> impl Iterator<Item = (&'a Key, Turn)> {
        // A revoked key is no longer published, unless the set with the revocation is lost.
        let keys = keys.filter(move |key| !self.is_revoked(&key.kid));
        keys.filter_map(move |key| {
            let mut published = self.set.keys.iter();
            let jwk = published.find(|jwk| jwk.kid.as_deref() == Some(&key.kid))?;
            let turn = Turn {
                from: key.signs_from,
                until: jwk.exp,
            };
            Some((key, turn))
        })
    }
}
