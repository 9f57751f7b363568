//! Which network addresses requests may go to: public ones, and what the configuration allows besides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use globset::{Glob, GlobMatcher};

/// What `providers.network.allowPrivate` allows.
#[derive(Debug, Clone, Default)]
pub(super) struct AddressRules(Vec<AddressRule>);

#[derive(Debug, Clone)]
enum AddressRule {
    /// Addresses of a network, on one port or any.
    Network { base: u128, prefix: u32, port: Option<u16> },
    /// Names, on one port or any, wherever they lead to.
    Name { glob: GlobMatcher, port: Option<u16> },
}

impl AddressRules {
    /// Reads rules; one that is malformed allows nothing.
    pub(super) fn new(texts: &[String]) -> Self {
        Self(texts.iter().filter_map(|text| AddressRule::read(text)).collect())
    }

    /// Whether a connection may go to an address. Without a port, the rules for one port do not count.
    pub(super) fn allow_address(&self, address: IpAddr, port: Option<u16>) -> bool {
        is_public(address)
            || self.0.iter().any(|rule| match rule {
                AddressRule::Network { base, prefix, port: only } => {
                    // A network of 0 bits would be a shift by all 128, which has no result: then every address is in
                    // it.
                    fits(*only, port) && (bits(address) ^ base).checked_shr(128 - prefix).unwrap_or(0) == 0
                }
                AddressRule::Name { .. } => false,
            })
    }

    /// Whether a name may be followed to wherever it leads.
    pub(super) fn allow_name(&self, name: &str, port: Option<u16>) -> bool {
        let name = name.to_ascii_lowercase();
        self.0.iter().any(|rule| match rule {
            AddressRule::Name { glob, port: only } => fits(*only, port) && glob.is_match(&name),
            AddressRule::Network { .. } => false,
        })
    }
}

fn fits(only: Option<u16>, port: Option<u16>) -> bool {
    only.is_none() || only == port
}

impl AddressRule {
    fn read(text: &str) -> Option<Self> {
        if let Some(rule) = Self::network(text, None) {
            return Some(rule);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Some(rule) = Self::network(bare, port) {
            return Some(rule);
        }
        // A glob that begins with a network would look like an address and never match one.
        let glob = Glob::new(&host.to_ascii_lowercase()).ok()?.compile_matcher();
        (!host.contains('/')).then_some(Self::Name { glob, port })
    }

    /// `ADDRESS` or `ADDRESS/BITS`.
    fn network(text: &str, port: Option<u16>) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(whole);
        (length <= whole).then(|| Self::Network { base: bits(address), prefix: 128 - whole + length, port })
    }
}

/// All addresses as IPv6, the old ones mapped.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether an address belongs to the public Internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // `Ipv4Addr::is_global` would say all this, and is not stable. This one is RFC 6598: addresses that providers share
    // among customers.
    let shared = a == 100 && (64..128).contains(&b);
    // RFC 6890, for protocols of the IETF.
    let protocol = a == 192 && b == 0 && c == 0;
    // RFC 2544, for measuring devices.
    let benchmark = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 240
        || shared
        || protocol
        || benchmark
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast is 2000::/3; what is left of it after documentation, benchmarks and Teredo.
    let global = a & 0xe000 == 0x2000;
    global && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8)) && !(a == 0x3fff && b < 0x1000)
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 and 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    // A gateway delivers these to the IPv4 address inside: `::ffff:169.254.169.254` is where clouds keep credentials.
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if !(high == 0 && low <= 1) => Some(join(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> AddressRules {
        AddressRules::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_public_addresses_are_open_by_themselves() {
        let refused = [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "203.0.113.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b:1::1",
            "100::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_are_allowed_by_network_and_port() {
        let allows = |rule: &str, address: &str, port| {
            rules(&[rule]).allow_address(address.parse().unwrap(), Some(port))
        };
        assert!(allows("127.0.0.1", "127.0.0.1", 80));
        assert!(allows("127.0.0.1", "::ffff:127.0.0.1", 80));
        assert!(!allows("127.0.0.1", "127.0.0.2", 80));
        assert!(allows("127.0.0.1:8080", "127.0.0.1", 8080));
        assert!(!allows("127.0.0.1:8080", "127.0.0.1", 22));
        assert!(allows("10.0.0.0/8", "10.255.0.1", 1));
        assert!(!allows("10.0.0.0/8", "11.0.0.1", 1) || is_public("11.0.0.1".parse().unwrap()));
        assert!(!allows("10.0.0.0/8", "192.168.0.1", 1));
        assert!(allows("fd00::/8", "fd12::1", 1));
        assert!(allows("[::1]:90", "::1", 90));
        assert!(!allows("[::1]:90", "::1", 91));
        assert!(allows("0.0.0.0/0", "10.0.0.1", 1));
        assert!(!allows("0.0.0.0/0", "fd12::1", 1));
        assert!(allows("::/0", "fd12::1", 1));
        assert!(!rules(&["127.0.0.1:80"]).allow_address("127.0.0.1".parse().unwrap(), None));
    }

    #[test]
    fn names_are_allowed_by_glob_and_port() {
        let rules = rules(&["*.corp.example", "localhost:8080", "10.0.0.0/33", "a/b", "x:y"]);
        assert!(rules.allow_name("build.corp.example", Some(1)));
        assert!(rules.allow_name("Build.Corp.Example", None));
        assert!(rules.allow_name("localhost", Some(8080)));
        assert!(!rules.allow_name("localhost", Some(80)));
        assert!(!rules.allow_name("localhost", None));
        assert!(!rules.allow_name("a/b", None));
        assert!(!rules.allow_address("10.0.0.1".parse().unwrap(), None));
    }
}
