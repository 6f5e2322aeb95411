//! Which addresses may be called on somebody else's word. The ranges are those that IANA's
//! special-purpose registries (RFC 6890) call not globally reachable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far away an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// On the internet.
    Public,
    /// On this machine or in its network: only where the operator allows it.
    Private,
    /// Never: where clouds hand out credentials, or what is no address of one host.
    Barred,
}

/// Where `ip` is.
pub(crate) fn distance(ip: IpAddr) -> Distance {
    match ip {
        IpAddr::V4(ip) => distance_v4(ip),
        IpAddr::V6(ip) => distance_v6(ip),
    }
}

/// Whether `ip` may be called.
pub(crate) fn is_allowed(ip: IpAddr, allow_private: bool) -> bool {
    match distance(ip) {
        Distance::Public => true,
        Distance::Private => allow_private,
        Distance::Barred => false,
    }
}

fn distance_v4(ip: Ipv4Addr) -> Distance {
    // Metadata of clouds that lies within ranges which a private network may use otherwise.
    if matches!(ip.octets(), [100, 100, 100, 200] | [192, 0, 0, 192]) {
        return Distance::Barred;
    }
    match ip.octets() {
        [0 | 224..=255, ..] | [169, 254, ..] => Distance::Barred,
        [10 | 127, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Distance::Private,
        _ => Distance::Public,
    }
}

fn distance_v6(ip: Ipv6Addr) -> Distance {
    if let Some(inner) = ip.to_ipv4_mapped() {
        return distance_v4(inner);
    }
    if ip == Ipv6Addr::LOCALHOST {
        return Distance::Private;
    }
    match ip.segments() {
        // AWS' metadata by IPv6.
        [0xfd00, 0x0ec2, ..] => Distance::Barred,
        // An IPv4 address in IPv6's clothes: NAT64 (RFC 6052), 6to4 (RFC 3056).
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            distance_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        // Unique local (RFC 4193).
        [0xfc00..=0xfdff, ..] => Distance::Private,
        // Documentation, and protocol assignments such as Teredo.
        [0x2001, 0x0db8, ..] | [0x2001, 0..=0x01ff, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Distance::Private
        }
        // Only 2000::/3 is handed out as global unicast (RFC 4291 §2.4).
        [0x2000..=0x3fff, ..] => Distance::Public,
        _ => Distance::Barred,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_far_from_near() {
        let public = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"];
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
        ];
        let barred = [
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "::7f00:1",
        ];
        let all = [(&public[..], Distance::Public), (&private, Distance::Private)];
        for (addresses, wanted) in all.into_iter().chain([(&barred[..], Distance::Barred)]) {
            for address in addresses {
                assert_eq!(distance(address.parse().unwrap()), wanted, "{address}");
            }
        }
        assert!(!is_allowed("10.0.0.1".parse().unwrap(), false));
        assert!(is_allowed("10.0.0.1".parse().unwrap(), true));
        assert!(!is_allowed("169.254.169.254".parse().unwrap(), true));
    }
}
