//! Limits the number of open connections, in all and for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::GatewayConfig;

/// An address as limits count it: IPv4 alone, IPv6 by its /64, which one household or host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(IpAddr);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

/// Shared by all doors, since all use the file descriptors of one process.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionPermits {
    all: Arc<Semaphore>,
    /// Only addresses that hold a connection have an entry, so that the permits bound its size.
    by_address: Arc<Mutex<HashMap<AddressKey, usize>>>,
    count_max_per_address: usize,
    uncounted: Arc<[IpNet]>,
}

impl ConnectionPermits {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        // A door that waits for a connection holds a permit already: one more, so that no door starves the other.
        let count_max = config.connection_count_max.saturating_add(1).min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(count_max)),
            by_address: Arc::default(),
            count_max_per_address: config.connection_count_max_per_address,
            uncounted: config.trusted_proxies.clone().into(),
        }
    }

    /// Waits for a permit. Cancel: safe.
    pub(crate) async fn acquire(&self) -> ReservedPermit {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.all).acquire_owned().await.ok();
        ReservedPermit { permits: self.clone(), permit }
    }
}

/// A permit for a connection whose peer is not known yet.
#[derive(Debug)]
pub(crate) struct ReservedPermit {
    permits: ConnectionPermits,
    permit: Option<OwnedSemaphorePermit>,
}

impl ReservedPermit {
    /// `None` when the peer holds all that it may.
    pub(crate) fn admit(self, peer: SocketAddr) -> Option<ConnectionPermit> {
        let Self { permits, permit } = self;
        let address = peer.ip().to_canonical();
        if permits.uncounted.iter().any(|network| network.contains(&address)) {
            return Some(ConnectionPermit { permits, address: None, _permit: permit });
        }
        let key = AddressKey::from(address);
        {
            let mut by_address = permits.by_address.lock();
            let count = by_address.entry(key).or_insert(0);
            if *count >= permits.count_max_per_address {
                return None;
            }
            *count += 1;
        }
        Some(ConnectionPermit { permits, address: Some(key), _permit: permit })
    }
}

/// Returns the permit when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    permits: ConnectionPermits,
    address: Option<AddressKey>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some(key) = self.address else { return };
        let mut by_address = self.permits.by_address.lock();
        if let Some(count) = by_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(count_max_per_address: usize) -> ConnectionPermits {
        let config = GatewayConfig {
            connection_count_max_per_address: count_max_per_address,
            ..GatewayConfig::default()
        };
        ConnectionPermits::new(&config)
    }

    #[tokio::test]
    async fn an_address_gets_its_share_back_when_a_connection_ends() {
        let permits = permits(1);
        let peer = SocketAddr::from(([10, 0, 0, 1], 1));
        let first = permits.acquire().await.admit(peer).unwrap();
        assert!(permits.acquire().await.admit(peer).is_none());
        assert!(permits.acquire().await.admit(SocketAddr::from(([10, 0, 0, 2], 1))).is_some());
        drop(first);
        assert!(permits.acquire().await.admit(peer).is_some());
        assert!(permits.by_address.lock().is_empty());
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_as_one() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
