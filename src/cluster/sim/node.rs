//! Onto a node of a simulated cluster: its files as the root of a process of this machine, this machine's programs
//! beside them for reading, and the node's own tools in front. Where this machine gives no namespaces there is a shell
//! in the node's folder, which says so, and nothing that the grader would take for the node.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cluster::{ClusterError, ExecOutput, NodeShell, Terminal};
use crate::persist;
use crate::process::HostCommand;
use crate::process::sandbox::{self, Mount, Sandbox, SandboxError};
use crate::sim::node::tools;
use crate::sim::node::tree::{Kind, Tree};

/// Where in a node's root that lies which is not the node's: this program, links to it, the socket.
const OURS: &str = "/.cks-lab";
/// Folders of programs, which Linux systems have as folders or as links to those below `/usr`.
const PROGRAMS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Folders in which some systems keep everything.
const STORES: [&str; 2] = ["/nix", "/gnu"];
/// Files of this machine without which its programs do not find each other.
const PLUMBING: [&str; 2] = ["alternatives", "ld.so.cache"];
/// Where programs are looked for on a node.
const PATH: &str = "/.cks-lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a shell on a node reads first, as on the exam's hosts: colours, `k`, completion.
const PROFILE: &str = r#"[ -n "$BASH" ] && [ -f ~/.bashrc ] && . ~/.bashrc
case $- in
*i*)
  if [ -n "$BASH" ] && command -v kubectl > /dev/null; then
    alias k=kubectl ls='ls --color=auto' grep='grep --color=auto'
    eval "$(kubectl completion bash 2> /dev/null)"
    complete -o default -F __start_kubectl k 2> /dev/null
  fi
  ;;
esac
"#;
/// The prompt of such a shell.
const PROMPT: &str = r"\u@\h:\w\$ ";

/// The nodes of one cluster.
#[derive(Debug)]
pub(super) struct Nodes {
    /// The cluster's folder.
    pub(super) dir: PathBuf,
    /// The names, the control plane first.
    pub(super) names: Vec<String>,
    /// This program.
    pub(super) program: PathBuf,
    /// Where programs are looked for on this machine.
    pub(super) path: OsString,
    /// What the probe for namespaces said, once it was asked.
    pub(super) refused: tokio::sync::OnceCell<Option<String>>,
}

impl Nodes {
    /// Returns what leads onto a node: `argv`, or a shell where there is none.
    pub(super) async fn shell(
        &self,
        node: &str,
        argv: &[OsString],
        terminal: &Terminal,
    ) -> Result<NodeShell, ClusterError> {
        let root = self.root(node)?;
        let mut extra = BTreeMap::new();
        extra.extend(terminal.kind.clone().map(|kind| ("TERM".to_owned(), kind)));
        extra.extend(terminal.colours.clone().map(|kind| ("COLORTERM".to_owned(), kind)));
        let shell = || vec![OsString::from(first_of(&["/bin/bash", "/bin/sh"])), OsString::from("-l")];
        if argv.is_empty() {
            extra.insert("PS1".to_owned(), PROMPT.to_owned());
        }
        let argv = if argv.is_empty() { shell() } else { argv.to_vec() };
        match self.refused().await {
            None => {
                let sandbox = self.sandbox(node, &root, extra)?;
                Ok(NodeShell { command: sandbox.command(&self.program, &argv), note: None })
            }
            Some(reason) => {
                let note = format!(
                    "This machine gives no namespaces to users ({reason}), so this is no shell on `{node}` but one \
                     in the folder of its files, `{}`. Paths begin there, nothing is kept from this machine's own \
                     files, and files are yours, not root's. The node's tools are there.",
                    root.display()
                );
                Ok(NodeShell { command: self.plain(node, &root, &argv, extra)?, note: Some(note) })
            }
        }
    }

    /// Writes a file of a node, without any process of its own.
    pub(super) fn write(
        &self,
        node: &str,
        path: &str,
        content: &[u8],
        mode: u32,
        owner: &str,
    ) -> Result<(), ClusterError> {
        let tree = open(&self.root(node)?)?;
        let refused = |message: String| ClusterError::Failed { message, source: None };
        let (user, group) = tools::files::owner(&tree, owner)
            .map_err(|error| refused(format!("failed to write `{path}` on `{node}`: {error}")))?;
        let written = tree
            .write(path, content, mode)
            .and_then(|()| tree.set_owner(path, user.unwrap_or(0), group.unwrap_or(0)));
        written.map_err(|error| failed(format!("write `{path}` on `{node}`"), error))
    }

    /// Answers what graders ask most, without any process: what a file is and what is in it. Whatever is not plainly
    /// there is left to the programs themselves.
    fn look(&self, tree: &Tree, argv: &[&str]) -> Option<ExecOutput> {
        let found = |stdout: Vec<u8>| Some(ExecOutput { status: 0, stdout, stderr: Vec::new() });
        match argv {
            ["cat", path] if path.starts_with('/') => found(tree.read(path).ok()?),
            ["stat", "-L", "-c", format, path] if path.starts_with('/') => {
                let facts = tree.stat(path).ok()?;
                found(format!("{}\n", tools::files::formatted(tree, format, path, &facts)?).into_bytes())
            }
            _ => None,
        }
    }

    /// Runs a command on a node to its end.
    pub(super) async fn exec(&self, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        let root = self.root(node)?;
        if let Some(output) = self.look(&open(&root)?, argv) {
            return Ok(output);
        }
        if let Some(reason) = self.refused().await {
            let message =
                format!("failed to run a command on `{node}`: this machine gives no namespaces ({reason})");
            return Err(ClusterError::Failed { message, source: None });
        }
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let output = self.sandbox(node, &root, BTreeMap::new())?.command(&self.program, &argv).output().await;
        let output = output.map_err(|error| failed(format!("run a command on `{node}`"), error))?;
        if output.status == i32::from(sandbox::BROKEN) {
            let message = format!("failed to get onto `{node}`: {}", output.stderr_text());
            return Err(ClusterError::Failed { message, source: None });
        }
        Ok(ExecOutput { status: output.status, stdout: output.stdout, stderr: output.stderr })
    }

    fn root(&self, node: &str) -> Result<PathBuf, ClusterError> {
        if self.names.iter().any(|name| name == node) {
            return Ok(self.folder(node).join("root"));
        }
        let message = format!("there is no node `{node}`; there are {}", self.names.join(", "));
        Err(ClusterError::Failed { message, source: None })
    }

    fn folder(&self, node: &str) -> PathBuf {
        self.dir.join("nodes").join(node)
    }

    async fn refused(&self) -> Option<&String> {
        let ask = || async {
            match sandbox::probe(&self.program).await {
                Ok(()) => None,
                Err(SandboxError::Unsupported(reason)) => Some(reason),
                Err(error) => Some(error.to_string()),
            }
        };
        self.refused.get_or_init(ask).await.as_ref()
    }

    /// Describes the surroundings, and makes sure that the node's root has the places that they need.
    fn sandbox(
        &self,
        node: &str,
        root: &Path,
        extra: BTreeMap<String, String>,
    ) -> Result<Sandbox, ClusterError> {
        let tree = open(root)?;
        let mut mounts = Vec::new();
        let places = |error| failed(format!("prepare the files of `{node}`"), error);
        let host = |path: &Path| std::fs::canonicalize(path).ok();

        self.make_places(&tree, node).map_err(places)?;
        let mut layers = Vec::new();
        if tree.kind("/usr/bin") == Some(Kind::Folder) {
            layers.extend(host(&root.join("usr")));
        }
        layers.extend(host(Path::new("/usr")));
        mounts.push(Mount::Stacked { from: layers, at: "/usr".into() });
        // Beneath `/usr` the node's own, which can be written.
        for own in ["usr/local", "usr/lib/systemd"] {
            if let Some(from) = host(&root.join(own)).filter(|_| tree.kind(own) == Some(Kind::Folder)) {
                mounts.push(Mount::Lent { from, at: Path::new("/").join(own) });
            }
        }
        for name in PROGRAMS {
            let there = Path::new("/").join(name);
            let in_node = format!("/{name}");
            match std::fs::read_link(&there) {
                Ok(target) => {
                    let target = target.to_string_lossy();
                    if tree.read_link(&in_node).ok().as_deref() != Some(&*target) {
                        tree.remove(&in_node)
                            .and_then(|()| tree.make_link(&target, &in_node))
                            .map_err(places)?;
                    }
                }
                Err(_) if there.is_dir() => {
                    place(&tree, &in_node).map_err(places)?;
                    mounts.push(Mount::Shown { from: there.clone(), at: there });
                }
                Err(_) => {}
            }
        }
        for store in STORES.iter().filter(|store| Path::new(store).is_dir()) {
            place(&tree, store).map_err(places)?;
            mounts.push(Mount::Shown { from: store.into(), at: store.into() });
        }
        let at = |name: &str| Path::new(OURS).join(name);
        let kubectl = self.kubectl();
        let mut links: Vec<(String, String)> =
            tools::NAMES.iter().map(|name| (format!("bin/{name}"), "../cks-lab".to_owned())).collect();
        if kubectl.is_some() {
            links.push(("bin/kubectl".to_owned(), "../kubectl".to_owned()));
        }
        mounts.push(Mount::Fresh { at: OURS.into(), links });
        let shown = |from: PathBuf, name: &str| Mount::Shown { from, at: at(name) };
        mounts.extend(host(&self.program).map(|from| shown(from, "cks-lab")));
        mounts.extend(kubectl.map(|from| shown(from, "kubectl")));
        mounts.extend(host(&self.folder(node).join(tools::SOCKET_FOLDER)).map(|from| shown(from, "run")));
        for name in PLUMBING {
            mounts.extend(host(&Path::new("/etc").join(name)).map(|from| shown(from, name)));
        }
        let mut env = environment(&tree);
        env.insert("PATH".to_owned(), PATH.to_owned());
        env.extend(extra);
        Ok(Sandbox {
            hostname: node.to_owned(),
            root: std::fs::canonicalize(root).map_err(|error| failed("find the node's files", error))?,
            mounts,
            program: at("cks-lab"),
            env: env.into_iter().collect(),
            cwd: "/root".into(),
        })
    }

    /// Makes what every root needs. A link that a learner put in such a place goes.
    fn make_places(&self, tree: &Tree, node: &str) -> std::io::Result<()> {
        for path in ["/proc", "/sys", "/dev", "/usr", OURS] {
            place(tree, path)?;
        }
        for (path, mode) in
            [("/root", 0o700), ("/tmp", 0o1777), ("/run", 0o755), ("/var", 0o755), ("/etc", 0o755)]
        {
            if tree.kind(path).is_none() {
                tree.make_dirs(path, mode)?;
            }
        }
        let files = [
            ("/etc/hostname", format!("{node}\n")),
            ("/etc/hosts", format!("127.0.0.1\tlocalhost {node}\n")),
            ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n".to_owned()),
            ("/etc/group", "root:x:0:\n".to_owned()),
            ("/root/.profile", PROFILE.to_owned()),
        ];
        for (path, content) in files {
            if tree.lstat(path).is_err() {
                tree.write(path, content.as_bytes(), 0o644)?;
            }
        }
        for (name, target) in [("/var/run", "/run"), ("/etc/mtab", "/proc/self/mounts")] {
            if tree.lstat(name).is_err() {
                tree.make_link(target, name)?;
            }
        }
        for name in PLUMBING {
            let link = format!("/etc/{name}");
            if tree.lstat(&link).is_err() {
                tree.make_link(&format!("{OURS}/{name}"), &link)?;
            }
        }
        Ok(())
    }

    fn kubectl(&self) -> Option<PathBuf> {
        let found = std::env::split_paths(&self.path)
            .map(|folder| folder.join("kubectl"))
            .find(|file| file.is_file());
        std::fs::canonicalize(found?).ok()
    }

    /// A command of this machine in the node's folder.
    fn plain(
        &self,
        node: &str,
        root: &Path,
        argv: &[OsString],
        extra: BTreeMap<String, String>,
    ) -> Result<HostCommand, ClusterError> {
        let tree = open(root)?;
        self.make_places(&tree, node)
            .map_err(|error| failed(format!("prepare the files of `{node}`"), error))?;
        let bin = self.folder(node).join("bin");
        persist::create_dir(&bin).map_err(|error| failed("link the node's tools", error))?;
        for name in tools::NAMES {
            let link = bin.join(name);
            if std::fs::read_link(&link).ok().as_deref() != Some(&self.program) {
                let _ = std::fs::remove_file(&link);
                std::os::unix::fs::symlink(&self.program, &link)
                    .map_err(|error| failed("link the node's tools", error))?;
            }
        }
        let mut env = environment(&tree);
        let in_root = |path: &str| root.join(path).to_string_lossy().into_owned();
        env.insert("HOME".to_owned(), in_root("root"));
        if env.contains_key("KUBECONFIG") {
            env.insert("KUBECONFIG".to_owned(), in_root("etc/kubernetes/admin.conf"));
        }
        let folders = std::iter::once(bin).chain(std::env::split_paths(&self.path));
        let path = std::env::join_paths(folders).map_err(|error| failed("link the node's tools", error))?;
        env.insert("PATH".to_owned(), path.to_string_lossy().into_owned());
        let socket = self.folder(node).join(tools::SOCKET_FOLDER);
        env.insert(tools::SOCKET_VARIABLE.to_owned(), socket.to_string_lossy().into_owned());
        env.extend(extra);
        env.insert("PS1".to_owned(), format!("({node}) \\w\\$ "));
        let Some((program, args)) = argv.split_first() else {
            return Err(ClusterError::Failed { message: "no command was given".to_owned(), source: None });
        };
        let args: Vec<OsString> = args.iter().filter(|arg| *arg != "-l").cloned().collect();
        let command = HostCommand::new(program).args(args).clear_env().cwd(root);
        Ok(env.into_iter().fold(command, |command, (name, value)| command.env(name, value)))
    }
}

/// What root finds in its environment after it has logged in.
fn environment(tree: &Tree) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = [
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/bash"),
        ("LANG", "C.UTF-8"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if tree.kind("/etc/kubernetes/admin.conf").is_some() {
        env.insert("KUBECONFIG".to_owned(), "/etc/kubernetes/admin.conf".to_owned());
    }
    env
}

fn open(root: &Path) -> Result<Tree, ClusterError> {
    Tree::open(root).map_err(|error| failed("open the node's files", error))
}

/// Makes an empty folder to mount upon.
fn place(tree: &Tree, path: &str) -> std::io::Result<()> {
    match tree.lstat(path) {
        Ok(facts) if facts.kind == Kind::Folder => return Ok(()),
        Ok(_) => tree.remove(path)?,
        Err(_) => {}
    }
    tree.make_dirs(path, 0o755)
}

fn first_of(programs: &[&'static str]) -> &'static str {
    programs.iter().copied().find(|program| Path::new(program).exists()).unwrap_or("/bin/sh")
}

fn failed(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> ClusterError {
    ClusterError::Failed { message: format!("failed to {}", what.into()), source: Some(Box::new(source)) }
}
