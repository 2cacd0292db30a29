//! Addresses and networks. Forms that could be read in two ways are refused, as Kubernetes refuses them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Library, text};
use crate::cel::Fault;
use crate::cel::opaque::Opaque;
use crate::cel::value::Val;

pub(super) fn declare(library: &mut Library) {
    library.add("ip(string) -> net.IP", |args| address(text(args, 0)).map(|ip| Val::Opaque(Opaque::Ip(ip))));
    library.add("isIP(string) -> bool", |args| Ok(address(text(args, 0)).is_ok().into()));
    library.add("ip.isCanonical(string) -> bool", |args| {
        address(text(args, 0)).map(|ip| (ip.to_string() == text(args, 0)).into())
    });
    library.add("net.IP.family() -> int", |args| Ok(Val::Int(if ip(args, 0)?.is_ipv4() { 4 } else { 6 })));
    library.add("net.IP.isUnspecified() -> bool", |args| Ok(ip(args, 0)?.is_unspecified().into()));
    library.add("net.IP.isLoopback() -> bool", |args| Ok(ip(args, 0)?.is_loopback().into()));
    library.add("net.IP.isLinkLocalMulticast() -> bool", |args| {
        Ok(is_link_local_multicast(ip(args, 0)?).into())
    });
    library.add("net.IP.isLinkLocalUnicast() -> bool", |args| Ok(is_link_local_unicast(ip(args, 0)?).into()));
    library.add("net.IP.isGlobalUnicast() -> bool", |args| {
        let ip = ip(args, 0)?;
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let other = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local_unicast(ip);
        Ok((!broadcast && !other).into())
    });
    library.add("cidr(string) -> net.CIDR", |args| {
        network(text(args, 0)).map(|network| Val::Opaque(Opaque::Cidr(network)))
    });
    library.add("isCIDR(string) -> bool", |args| Ok(network(text(args, 0)).is_ok().into()));
    library.add("net.CIDR.containsIP(string) -> bool", |args| {
        Ok(cidr(args, 0)?.contains(&address(text(args, 1))?).into())
    });
    library
        .add("net.CIDR.containsIP(net.IP) -> bool", |args| Ok(cidr(args, 0)?.contains(&ip(args, 1)?).into()));
    library.add("net.CIDR.containsCIDR(string) -> bool", |args| {
        Ok(contains(cidr(args, 0)?, network(text(args, 1))?).into())
    });
    library.add("net.CIDR.containsCIDR(net.CIDR) -> bool", |args| {
        Ok(contains(cidr(args, 0)?, cidr(args, 1)?).into())
    });
    library.add("net.CIDR.ip() -> net.IP", |args| Ok(Val::Opaque(Opaque::Ip(cidr(args, 0)?.addr()))));
    library
        .add("net.CIDR.prefixLength() -> int", |args| Ok(Val::Int(i64::from(cidr(args, 0)?.prefix_len()))));
    library
        .add("net.CIDR.masked() -> net.CIDR", |args| Ok(Val::Opaque(Opaque::Cidr(cidr(args, 0)?.trunc()))));
}

fn ip(args: &[Val<'_>], index: usize) -> Result<IpAddr, Fault> {
    match args.get(index) {
        Some(Val::Opaque(Opaque::Ip(ip))) => Ok(*ip),
        _ => Err(Fault::Error("no such overload".to_owned())),
    }
}

fn cidr(args: &[Val<'_>], index: usize) -> Result<IpNet, Fault> {
    match args.get(index) {
        Some(Val::Opaque(Opaque::Cidr(network))) => Ok(*network),
        _ => Err(Fault::Error("no such overload".to_owned())),
    }
}

fn address(text: &str) -> Result<IpAddr, Fault> {
    let error = |message: String| Fault::Error(message);
    if text.contains('%') {
        return Err(error(format!("IP address {text:?} with zone value is not allowed")));
    }
    match text.parse() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            Err(error(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err(error(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        ))),
    }
}

fn network(text: &str) -> Result<IpNet, Fault> {
    let wrong = |reason: &str| {
        Fault::Error(format!(
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix({text:?}): {reason}"
        ))
    };
    let (before, bits) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let plain = !bits.is_empty()
        && bits.chars().all(|c| c.is_ascii_digit())
        && (bits == "0" || !bits.starts_with('0'));
    if !plain {
        return Err(wrong(&format!("bad bits after slash: {bits:?}")));
    }
    let ip: IpAddr =
        before.parse().map_err(|_| wrong(&format!("ParseAddr({before:?}): unable to parse IP")))?;
    if matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
        return Err(Fault::Error(format!(
            "network address parse error during conversion from string: IPv4-mapped IPv6 address {text:?} is not allowed"
        )));
    }
    let length: u8 = bits.parse().map_err(|_| wrong("prefix length out of range"))?;
    IpNet::new(ip, length).map_err(|_| wrong("prefix length out of range"))
}

fn contains(outer: IpNet, inner: IpNet) -> bool {
    outer.prefix_len() <= inner.prefix_len()
        && IpNet::new(inner.addr(), outer.prefix_len()).is_ok_and(|same| outer.trunc() == same.trunc())
        && outer.addr().is_ipv4() == inner.addr().is_ipv4()
}

fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}
