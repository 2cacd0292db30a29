use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// A tree beside a folder of the host with a secret in it.
fn tree() -> (tempfile::TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("root/etc/kubernetes")).unwrap();
    std::fs::create_dir(dir.path().join("host")).unwrap();
    std::fs::write(dir.path().join("host/secret"), "host").unwrap();
    let tree = Tree::open(&dir.path().join("root")).unwrap();
    (dir, tree)
}

#[test]
fn links_lead_to_the_nodes_own_files() {
    let (dir, tree) = tree();
    let host = dir.path().join("host");
    let root = dir.path().join("root");
    symlink(&host, root.join("etc/kubernetes/manifests")).unwrap();
    symlink("../../../../../../..", root.join("etc/up")).unwrap();
    symlink(host.join("secret"), root.join("etc/secret")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/etc/kubernetes", root.join("k")).unwrap();
    tree.write("/etc/kubernetes/a", b"node", 0o600).unwrap();

    let gone = |result: io::Result<Vec<u8>>| result.unwrap_err().kind() == io::ErrorKind::NotFound;
    assert!(gone(tree.read("/etc/kubernetes/manifests/secret")));
    assert!(gone(tree.read("/etc/secret")));
    assert!(gone(tree.read("/etc/up/host/secret")));
    assert!(gone(tree.read(&format!("/../../../../../../../..{}/secret", host.display()))));
    assert!(tree.list("/etc/kubernetes/manifests").is_err());
    assert!(tree.read("/loop").is_err());
    assert_eq!(tree.read("/k/a").unwrap(), b"node");
    assert_eq!(tree.read("/etc/up/etc/kubernetes/../kubernetes/./a").unwrap(), b"node");
    assert_eq!(tree.lstat("/k").unwrap().kind, Kind::Link);
    assert_eq!(tree.stat("/k").unwrap().kind, Kind::Folder);

    // What is written through a link lands below the root, at the path that the link names there.
    assert!(tree.write("/etc/kubernetes/manifests/x", b"pod", 0o644).is_err());
    tree.make_dirs(host.to_str().unwrap(), 0o755).unwrap();
    tree.write("/etc/kubernetes/manifests/x", b"pod", 0o644).unwrap();
    tree.write("/etc/secret", b"more", 0o644).unwrap();
    assert_eq!(tree.read(&format!("{}/x", host.display())).unwrap(), b"pod");
    assert_eq!(std::fs::read(host.join("secret")).unwrap(), b"host");
    assert!(!host.join("x").exists());
    tree.remove("/etc/kubernetes/manifests").unwrap();
    tree.remove("/etc").unwrap();
    assert!(host.join("secret").exists());
}

#[test]
fn files_are_written_whole_with_their_mode() {
    let (dir, tree) = tree();
    tree.write("/var/lib/kubelet/config.yaml", b"one", 0o640).unwrap();
    tree.write("/var/lib/kubelet/config.yaml", b"two", 0o600).unwrap();
    tree.append("/var/log/x", b"a", 0o644).unwrap();
    tree.append("/var/log/x", b"b", 0o644).unwrap();
    let facts = tree.stat("/var/lib/kubelet/config.yaml").unwrap();
    assert_eq!((facts.kind, facts.mode, facts.size), (Kind::File, 0o600, 3));
    assert_eq!(tree.list("/var/lib/kubelet").unwrap(), ["config.yaml"]);
    assert_eq!(tree.read_text("/var/log/x").unwrap(), "ab");
    tree.make_dirs("/var/lib/etcd", 0o700).unwrap();
    assert_eq!(tree.stat("/var/lib/etcd/").unwrap().mode, 0o700);
    tree.set_mode("/var/log/x", 0o4755).unwrap();
    let bits = std::fs::metadata(dir.path().join("root/var/log/x")).unwrap().permissions().mode();
    assert_eq!(bits & 0o7777, 0o4755);
    tree.rename("/var/log/x", "/var/y").unwrap();
    assert_eq!(tree.kind("/var/log/x"), None);
    assert!(tree.read("/var/y/z").is_err());
    assert!(tree.make_dirs("/var/y/z", 0o755).is_err());
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let (dir, tree) = tree();
    let pipe = dir.path().join("root/etc/pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(tree.kind("/etc/pipe"), Some(Kind::Pipe));
    assert!(tree.read("/etc/pipe").is_err());
    assert!(tree.read("/etc").is_err());
    std::fs::File::create(dir.path().join("root/huge")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(tree.read("/huge").unwrap_err().raw_os_error(), Some(Errno::FBIG.raw_os_error()));
}

#[test]
fn an_owner_is_noted_and_goes_with_the_file() {
    let (_dir, tree) = tree();
    tree.write("/etc/a", b"", 0o600).unwrap();
    tree.set_owner("/etc/a", 1000, 33).unwrap();
    tree.rename("/etc/a", "/etc/b").unwrap();
    let facts = tree.stat("/etc/b").unwrap();
    assert_eq!((facts.owner, facts.group), (1000, 33));
    tree.set_owner("/etc/b", 0, 0).unwrap();
    assert_eq!(tree.stat("/etc/b").unwrap().owner, 0);
}
