//! No sequence of arrivals and ends takes a place from a network that has as few.

use proptest::prelude::*;

use super::*;

/// What happens: an arrival, a change of what a connection waits for, an end.
#[derive(Clone, Debug)]
enum Step {
    Arrive { peer: IpAddr, is_trusted: bool },
    Waits(usize),
    HeldUp(usize),
    Busy(usize),
    End(usize),
}

/// A few networks of each width, and spellings of the same ones.
fn peers() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1_u8..5).prop_map(|n| IpAddr::from([192, 0, 2, n])),
        (1_u8..5).prop_map(|n| std::net::Ipv4Addr::new(192, 0, 2, n)
            .to_ipv6_mapped()
            .into()),
        (0_u16..3, 0_u16..2, 0_u16..3, 1_u16..3).prop_map(|(site, half, net, host)| {
            IpAddr::from([0x2001, 0xdb8, site, half << 8 | net, 0, 0, 0, host])
        }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (peers(), prop::bool::weighted(0.1))
            .prop_map(|(peer, is_trusted)| Step::Arrive { peer, is_trusted }),
        2 => any::<usize>().prop_map(Step::Waits),
        4 => any::<usize>().prop_map(Step::HeldUp),
        1 => any::<usize>().prop_map(Step::Busy),
        1 => any::<usize>().prop_map(Step::End),
    ]
}

/// The widest network of each that the other is not in, counted without the
/// census.
fn networks_that_differ(a: IpAddr, b: IpAddr) -> Option<(IpAddr, IpAddr, u32)> {
    let bits = |address: IpAddr, bits: u32| match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - bits);
            std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    };
    let mut levels = [48, 56, 64].into_iter();
    levels
        .find(|level| bits(a, *level) != bits(b, *level))
        .map(|level| (bits(a, level), bits(b, level), level))
}

struct Open {
    peer: IpAddr,
    is_trusted: bool,
    place: Place,
    activity: Arc<Activity>,
}

fn staying(open: &[Open], network: IpAddr, level: u32) -> usize {
    let stays = |it: &&Open| !it.is_trusted && !it.activity.is_dismissed();
    let of_network = |it: &&Open| {
        // An address of another network tells the networks of this one apart.
        networks_that_differ(it.peer, network).is_none_or(|(_, _, from)| from > level)
    };
    open.iter().filter(stays).filter(of_network).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_newcomer_takes_a_place_of_a_network_with_as_few(
        steps in prop::collection::vec(steps(), 1..120),
    ) {
        let maxima = Maxima { total: 16, reserved: 4, per_address: 5 };
        let admission = Arc::new(Admission::new(maxima));
        let mut open: Vec<Open> = Vec::new();
        for (now, step) in (1..).zip(steps) {
            let at = |n: usize| n.checked_rem(open.len());
            match step {
                Step::Waits(n) => {
                    if let Some(n) = at(n) { open[n].place.waits_since(now); }
                }
                Step::HeldUp(n) => {
                    if let Some(n) = at(n) { open[n].place.is_held_up_since(now); }
                }
                Step::Busy(n) => {
                    if let Some(n) = at(n) { open[n].place.is_busy(); }
                }
                Step::End(n) => {
                    if let Some(n) = at(n) { open.remove(n); }
                }
                Step::Arrive { peer, is_trusted } => {
                    let was_dismissed: Vec<bool> =
                        open.iter().map(|it| it.activity.is_dismissed()).collect();
                    let counts: Vec<_> = open.iter().map(|it| {
                        networks_that_differ(it.peer, peer).map(|(theirs, ours, level)| {
                            (staying(&open, theirs, level), staying(&open, ours, level))
                        })
                    }).collect();
                    let activity = Arc::new(Activity::for_test());
                    let place = admission.admit(peer, is_trusted, &activity, now);
                    let victims: Vec<usize> = (0..open.len())
                        .filter(|n| open[*n].activity.is_dismissed() && !was_dismissed[*n])
                        .collect();
                    prop_assert!(victims.len() <= 1);
                    prop_assert!(place.is_ok() || victims.is_empty());
                    for victim in victims {
                        prop_assert!(is_trusted || !open[victim].is_trusted);
                        if !is_trusted && let Some((theirs, ours)) = counts[victim] {
                            prop_assert!(theirs > ours + 1, "{} of {}", theirs, ours);
                        }
                    }
                    if let Ok(place) = place {
                        open.push(Open { peer, is_trusted, place, activity });
                    }
                    let stay = open.iter().filter(|it| !it.activity.is_dismissed());
                    prop_assert!(stay.clone().count() <= 16);
                    prop_assert!(stay.filter(|it| !it.is_trusted).count() <= 12);
                }
            }
        }
        drop(open);
        let book = admission.book();
        prop_assert_eq!((book.staying, book.others, book.leaving), (0, 0, 0));
    }
}
