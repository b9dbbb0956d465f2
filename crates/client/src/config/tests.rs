//! Tests of values of settings.

use super::*;

#[test]
fn hours_may_be_fractions_and_nonsense_is_refused() {
    assert_eq!(hours("0.5"), Ok(TimeDelta::minutes(30)));
    assert_eq!(interval("72"), Ok(TimeDelta::hours(72)));
    for wrong in ["-1", "NaN", "inf", "", "1e9", "four"] {
        assert!(hours(wrong).is_err(), "{wrong}");
    }
    assert!(interval("0").is_err());
}

#[test]
fn networks_are_words_addresses_or_cidr() {
    assert_eq!("loopback".parse(), Ok(TrustedNetwork::Loopback));
    assert_eq!(" attached".parse(), Ok(TrustedNetwork::Attached));
    assert_eq!("gateway".parse(), Ok(TrustedNetwork::Gateway));
    assert!("10.0.0.0/8".parse::<TrustedNetwork>().is_ok());
    assert!("192.168.1.7".parse::<TrustedNetwork>().is_ok());
    assert_eq!("none ".parse(), Ok(TrustedNetwork::None));
    for wrong in ["everyone", ""] {
        assert!(wrong.parse::<TrustedNetwork>().is_err(), "{wrong}");
    }
    for (mapped, plain) in [
        ("::ffff:10.1.2.0/120", "10.1.2.0/24"),
        ("::ffff:a01:203", "10.1.2.3"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ] {
        assert_eq!(
            mapped.parse::<TrustedNetwork>(),
            plain.parse::<TrustedNetwork>(),
            "{mapped}"
        );
    }
    for other in ["fd00::/8", "::/0", "::ffff:0:0/90"] {
        let network = other.parse().map(TrustedNetwork::Cidr);
        assert_eq!(
            other.parse::<TrustedNetwork>(),
            Ok(network.unwrap()),
            "{other}"
        );
    }
}
