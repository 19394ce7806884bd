//! What an address tells by itself.

use std::net::IpAddr;

/// The host of `host:port`.
pub fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Whether `host:port` can only be on the machine of whoever connects to it.
pub fn is_loopback(address: &str) -> bool {
    let host = host_of(address);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_known_as_one() {
        for address in ["127.0.0.1:80", "127.9.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "localhost:80"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["10.0.0.1:80", "[fe80::1]:80", "localhost.example.org:80", "worker-1:80", ""] {
            assert!(!is_loopback(address), "{address}");
        }
        assert_eq!(host_of("[::1]:80"), "[::1]");
    }
}
