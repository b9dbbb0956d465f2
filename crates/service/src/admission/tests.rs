mod shares;

use super::*;

struct Scene {
    admission: Arc<Admission>,
    places: Vec<(Place, Arc<Activity>)>,
}

impl Scene {
    fn new(total: usize, reserved: usize, per_address: usize) -> Self {
        let maxima = Maxima {
            total,
            reserved,
            per_address,
        };
        Self {
            admission: Arc::new(Admission::new(maxima)),
            places: Vec::new(),
        }
    }

    /// A connection that has a request in flight.
    fn busy(&mut self, peer: &str, is_trusted: bool) -> Result<(), Refusal> {
        self.waiting(peer, is_trusted, 0)?;
        self.places.last().unwrap().0.is_busy();
        Ok(())
    }

    /// A connection whose peer sends its request slowly.
    fn slow(&mut self, peer: &str, is_trusted: bool, since: u64) -> Result<(), Refusal> {
        self.waiting(peer, is_trusted, since)?;
        self.places.last().unwrap().0.is_held_up_since(since);
        Ok(())
    }

    fn waiting(&mut self, peer: &str, is_trusted: bool, since: u64) -> Result<(), Refusal> {
        let activity = Arc::new(Activity::for_test());
        let peer = peer.parse().unwrap();
        let place = self.admission.admit(peer, is_trusted, &activity, since)?;
        self.places.push((place, activity));
        Ok(())
    }

    fn dismissed(&self) -> Vec<usize> {
        let places = self.places.iter().enumerate();
        places
            .filter(|(_, (_, activity))| activity.is_dismissed())
            .map(|(index, _)| index)
            .collect()
    }
}

#[test]
fn a_reserved_share_is_for_trusted_networks() {
    let mut scene = Scene::new(4, 2, 10);
    scene.busy("192.0.2.1", false).unwrap();
    scene.busy("192.0.2.2", false).unwrap();
    assert_eq!(scene.busy("192.0.2.3", false), Err(Refusal::Total));
    scene.busy("127.0.0.1", true).unwrap();
    scene.busy("127.0.0.1", true).unwrap();
    assert_eq!(scene.busy("127.0.0.1", true), Err(Refusal::Total));
    scene.places.remove(0);
    scene.busy("192.0.2.3", false).unwrap();
}

#[test]
fn an_address_has_a_maximum_in_all_its_spellings() {
    let mut scene = Scene::new(100, 0, 2);
    scene.busy("192.0.2.1", false).unwrap();
    scene.busy("::ffff:192.0.2.1", false).unwrap();
    assert_eq!(scene.busy("192.0.2.1", false), Err(Refusal::Address));
    scene.busy("2001:db8:1:2::1", false).unwrap();
    scene.busy("2001:db8:1:2:ffff::9", false).unwrap();
    let same = scene.busy("2001:db8:1:2:3:4:5:6", false);
    assert_eq!(same, Err(Refusal::Address));
    scene.busy("2001:db8:1:3::1", false).unwrap();
    for _ in 0..20 {
        scene.busy("127.0.0.1", true).unwrap();
    }
}

#[test]
fn of_the_network_with_the_most_the_connection_that_has_waited_longest_makes_room() {
    let mut scene = Scene::new(5, 0, 10);
    scene.waiting("192.0.2.1", false, 1).unwrap();
    for since in [20, 10, 30] {
        scene.waiting("192.0.2.2", false, since).unwrap();
    }
    scene.slow("192.0.2.2", false, 2).unwrap();
    scene.busy("192.0.2.3", false).unwrap();
    assert_eq!(scene.dismissed(), [2]);
    scene.busy("192.0.2.4", false).unwrap();
    assert_eq!(scene.dismissed(), [1, 2]);
    // It has two, and a third address would have one.
    scene.busy("192.0.2.5", false).unwrap();
    assert_eq!(scene.dismissed(), [1, 2, 3]);
    assert_eq!(scene.busy("192.0.2.6", false), Err(Refusal::Total));
    // One that was dismissed and closes is not counted twice.
    scene.places.remove(1);
    assert_eq!(scene.busy("192.0.2.6", false), Err(Refusal::Total));
    scene.places.remove(0);
    scene.busy("192.0.2.6", false).unwrap();
}

#[test]
fn a_connection_of_the_same_address_makes_room_where_no_network_has_more() {
    let mut scene = Scene::new(2, 0, 10);
    scene.waiting("192.0.2.1", false, 1).unwrap();
    scene.waiting("192.0.2.2", false, 2).unwrap();
    assert_eq!(scene.busy("192.0.2.3", false), Err(Refusal::Total));
    scene.busy("192.0.2.2", false).unwrap();
    assert_eq!(scene.dismissed(), [1]);
    assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
}

#[test]
fn a_connection_that_waits_for_its_first_byte_is_not_closed_for_many_others() {
    for prefix in ["192.0.2.", "2001:db8:0:"] {
        let mut scene = Scene::new(256, 64, 16);
        let attacker = |n: usize| match prefix.ends_with('.') {
            true => format!("{prefix}{}", n % 14),
            false => format!("{prefix}{:x}::1", n % 14),
        };
        for n in 0..192 {
            scene.slow(&attacker(n), false, 1).unwrap();
        }
        scene.waiting("198.51.100.1", false, 50).unwrap();
        let honest = scene.places.len() - 1;
        for n in 0..1000 {
            let _ = scene.slow(&attacker(n), false, 100);
            let _ = scene.waiting(&attacker(n), false, 100);
        }
        assert!(!scene.dismissed().contains(&honest), "{prefix}");
    }
}

#[test]
fn an_address_at_its_maximum_makes_room_for_itself_alone() {
    let mut scene = Scene::new(100, 0, 2);
    scene.waiting("192.0.2.9", false, 1).unwrap();
    scene.waiting("192.0.2.1", false, 5).unwrap();
    scene.busy("192.0.2.1", false).unwrap();
    scene.busy("192.0.2.1", false).unwrap();
    assert_eq!(scene.dismissed(), [1]);
}

#[test]
fn a_gateway_takes_the_place_of_another_peer_first_and_never_the_reverse() {
    let mut scene = Scene::new(2, 1, 10);
    scene.waiting("127.0.0.1", true, 1).unwrap();
    scene.waiting("192.0.2.1", false, 5).unwrap();
    scene.busy("127.0.0.1", true).unwrap();
    assert_eq!(scene.dismissed(), [1]);
    assert_eq!(scene.busy("192.0.2.1", false), Err(Refusal::Total));
    scene.busy("127.0.0.1", true).unwrap();
    assert_eq!(scene.dismissed(), [0, 1]);
}

#[test]
fn slow_requests_of_the_address_with_the_most_make_room_oldest_first() {
    let mut scene = Scene::new(8, 0, 4);
    scene.slow("192.0.2.1", false, 1).unwrap();
    for since in [9, 7, 8] {
        scene.slow("192.0.2.2", false, since).unwrap();
    }
    for since in [12, 11, 10, 13] {
        scene.slow("192.0.2.3", false, since).unwrap();
    }
    scene.busy("192.0.2.9", false).unwrap();
    assert_eq!(scene.dismissed(), [6]);
    // Both have three now; the oldest of these makes room.
    scene.busy("192.0.2.8", false).unwrap();
    assert_eq!(scene.dismissed(), [2, 6]);
    scene.slow("192.0.2.7", false, 20).unwrap();
    assert_eq!(scene.dismissed(), [2, 5, 6]);
}

#[test]
fn two_addresses_never_take_turns() {
    let mut scene = Scene::new(6, 0, 6);
    for since in 1..6 {
        scene.slow("192.0.2.1", false, since).unwrap();
    }
    scene.slow("192.0.2.2", false, 9).unwrap();
    scene.slow("192.0.2.2", false, 9).unwrap();
    scene.slow("192.0.2.2", false, 9).unwrap();
    assert_eq!(scene.dismissed(), [0, 1]);
    for peer in ["192.0.2.2", "192.0.2.1"] {
        assert_eq!(scene.slow(peer, false, 9), Err(Refusal::Total));
    }
    assert_eq!(scene.dismissed(), [0, 1]);
}

#[test]
fn a_request_that_the_service_works_on_makes_no_room() {
    let mut scene = Scene::new(4, 0, 4);
    for _ in 0..4 {
        scene.busy("192.0.2.1", false).unwrap();
    }
    assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
    scene.places[2].0.is_held_up_since(5);
    scene.busy("192.0.2.2", false).unwrap();
    assert_eq!(scene.dismissed(), [2]);
}

#[test]
fn a_connection_that_waits_makes_room_before_a_slow_request_of_its_network() {
    let mut scene = Scene::new(4, 0, 4);
    scene.waiting("192.0.2.2", false, 1).unwrap();
    scene.slow("192.0.2.1", false, 2).unwrap();
    scene.slow("192.0.2.1", false, 3).unwrap();
    scene.waiting("192.0.2.1", false, 9).unwrap();
    scene.busy("192.0.2.3", false).unwrap();
    assert_eq!(scene.dismissed(), [3]);
}

#[test]
fn a_gateway_ends_a_slow_request_from_outside_before_one_of_a_gateway() {
    let mut scene = Scene::new(2, 1, 4);
    scene.slow("192.0.2.1", false, 5).unwrap();
    scene.slow("127.0.0.1", true, 1).unwrap();
    scene.slow("127.0.0.1", true, 2).unwrap();
    assert_eq!(scene.dismissed(), [0]);
    assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
    assert_eq!(scene.dismissed(), [0]);
}

#[test]
fn a_slow_program_on_a_trusted_address_keeps_no_gateway_out() {
    for gateway in ["127.0.0.1", "::1"] {
        let mut scene = Scene::new(8, 2, 4);
        for n in 0..8 {
            scene.slow(&format!("127.0.0.{n}"), true, 10 - n).unwrap();
        }
        // The longest-delayed ones, as long as there are any; answers in progress stay.
        for n in 0..8 {
            scene.busy(gateway, true).unwrap();
            assert_eq!(scene.dismissed().len(), n + 1);
        }
        let order: Vec<usize> = (0..8).collect();
        assert_eq!(scene.dismissed(), order);
        assert_eq!(scene.busy(gateway, true), Err(Refusal::Total));
    }
    let mut scene = Scene::new(3, 1, 4);
    for since in [7, 5, 6] {
        scene.slow("127.0.0.1", true, since).unwrap();
    }
    scene.busy("127.0.0.1", true).unwrap();
    assert_eq!(scene.dismissed(), [1]);
    // A connection whose first request is on its way stays, although requests that the service has
    // read since are delayed.
    scene.waiting("127.0.0.1", true, NEW).unwrap();
    scene.places[0].0.is_held_up_since(1_000_000);
    assert_eq!(scene.dismissed(), [1, 2]);
    scene.busy("127.0.0.1", true).unwrap();
    assert_eq!(scene.dismissed(), [0, 1, 2]);
    let mut scene = Scene::new(3, 1, 4);
    for since in [7, 5, 6] {
        scene.slow("127.0.0.1", true, since).unwrap();
    }
    scene.busy("127.0.0.1", true).unwrap();
    // Of several gateways, the one with the most gives way, if it is not this one.
    scene.busy("10.0.0.1", true).unwrap();
    assert_eq!(scene.dismissed(), [1, 2]);
    scene.slow("10.0.0.2", true, 8).unwrap();
    assert_eq!(scene.dismissed(), [0, 1, 2]);
    assert_eq!(scene.busy("10.0.0.3", true), Err(Refusal::Total));
}

#[test]
fn users_of_an_untrusted_machine_share_by_fairness_without_a_maximum() {
    let mut scene = Scene::new(8, 2, 2);
    for n in 1..7 {
        scene.slow(&format!("127.0.0.{n}"), false, 10 - n).unwrap();
    }
    // The gateway of the machine, a caller from outside, and one of a trusted network.
    scene.busy("::1", false).unwrap();
    assert_eq!(scene.dismissed(), [5]);
    scene.slow("192.0.2.1", false, 20).unwrap();
    assert_eq!(scene.dismissed(), [4, 5]);
    // The machine takes nothing from a network with less.
    for _ in 0..4 {
        scene.slow("127.0.0.1", false, 30).unwrap();
    }
    let outside = 7;
    assert!(!scene.dismissed().contains(&outside));
    for _ in 0..2 {
        scene.busy("10.0.0.1", true).unwrap();
    }
    assert!(!scene.dismissed().contains(&outside));
}

#[test]
fn connections_that_do_not_leave_are_bounded() {
    let waiting = |scene: &mut Scene, peer: &str, is_trusted| {
        let all = 0..2 * MAX_LEAVING;
        all.take_while(|_| scene.waiting(peer, is_trusted, 1).is_ok())
            .count()
    };
    // One address beyond its own maximum.
    let mut scene = Scene::new(10_000, 0, 2);
    let admitted = waiting(&mut scene, "192.0.2.1", false);
    assert_eq!(admitted, 2 + MAX_LEAVING_OF_ADDRESS);
    assert_eq!(waiting(&mut scene, "::ffff:192.0.2.1", false), 0);
    scene.waiting("192.0.2.2", false, 1).unwrap();
    // Any of them, where there are not enough for all.
    let mut scene = Scene::new(2, 1, 10_000);
    let admitted = waiting(&mut scene, "192.0.2.1", false);
    assert_eq!(admitted, 1 + MAX_LEAVING - RESERVED_LEAVING);
    let admitted = waiting(&mut scene, "127.0.0.1", true);
    assert_eq!(admitted, 1 + RESERVED_LEAVING);
}

#[test]
fn connections_that_do_not_leave_keep_no_gateway_out() {
    let mut scene = Scene::new(600, 4, 2);
    let peers = (0..250_u8).flat_map(|n| [n; 40]);
    for n in peers {
        let _ = scene.waiting(&format!("192.0.2.{n}"), false, 1);
    }
    for _ in 0..100 {
        scene.waiting("127.0.0.1", true, 1).unwrap();
    }
    assert_eq!(
        scene.admission.book().leaving,
        MAX_LEAVING - RESERVED_LEAVING
    );
}
