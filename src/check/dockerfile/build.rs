//! A Dockerfile followed through its stages: what each stands on, what its layers do, and the configuration that an
//! image of it has. Judges nothing.

use std::collections::BTreeMap;

use parse_dockerfile::{Command, Flag, FromInstruction, Instruction, Source, Span};

use super::words;

/// All stages of a file, in their order.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) line: usize,
    pub(super) base: Base,
    pub(super) layers: Vec<Layer>,
    pub(super) config: Config,
    /// Every value that an instruction has after its variables were expanded, with its line.
    pub(super) values: Vec<(usize, String)>,
    /// Names of `ARG` and `ENV` with their lines.
    pub(super) variables: Vec<(usize, String)>,
}

/// What something is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image from outside.
    Image(String),
    /// A build argument without a default: nobody knows.
    Unknown(String),
}

/// What adds to the file system.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) line: usize,
    pub(super) does: Does,
}

/// What a layer does.
#[derive(Debug)]
pub(super) enum Does {
    Copy {
        /// `None` is the build context.
        from: Option<Base>,
        sources: Vec<String>,
        excludes: Vec<String>,
        dest: String,
        /// It is `ADD`, with or without a checksum.
        add: Option<bool>,
    },
    Run {
        commands: Vec<Vec<String>>,
        /// Targets of cache mounts.
        caches: Vec<String>,
        /// What mounts take from elsewhere.
        from: Vec<Base>,
    },
}

/// A command as it was written, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) line: usize,
    pub(super) exec: bool,
    pub(super) words: Vec<String>,
}

/// What an image says about itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    pub(super) user: Option<(usize, String)>,
    pub(super) workdir: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) expose: Vec<String>,
    pub(super) entrypoint: Option<Start>,
    pub(super) cmd: Option<Start>,
}

impl Build {
    /// Follows a file. `text` is what it was parsed from.
    pub(super) fn of(file: &parse_dockerfile::Dockerfile<'_>, text: &str) -> Self {
        let mut globals = BTreeMap::new();
        for arg in file.global_args() {
            for (name, default) in words::pairs(&arg.arguments.value, false) {
                if let Some(default) = default {
                    let value = words::expand(&default, &globals);
                    globals.insert(name, value);
                }
            }
        }
        let mut build = Self { stages: Vec::new() };
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for stage in file.stages() {
            let walk = Walk::new(&build, &names, &globals, stage.from, text);
            let stage_done = walk.through(stage.instructions);
            if let Some((_, name)) = &stage.from.as_ {
                names.insert(name.value.to_lowercase(), build.stages.len());
            }
            build.stages.push(stage_done);
        }
        build
    }

    /// Returns the last stage and the stages that it stands on, the last one first.
    pub(super) fn chain(&self) -> Vec<&Stage> {
        let mut chain: Vec<&Stage> = self.stages.last().into_iter().collect();
        while let Some(Base::Stage(index)) = chain.last().map(|stage| &stage.base) {
            chain.push(&self.stages[*index]);
        }
        chain
    }

    /// Returns what the last stage stands on in the end.
    pub(super) fn root(&self) -> Option<(&Base, usize)> {
        self.chain().last().map(|stage| (&stage.base, stage.line))
    }
}

/// A walk through one stage.
struct Walk<'a> {
    names: &'a BTreeMap<String, usize>,
    globals: &'a BTreeMap<String, String>,
    text: &'a str,
    stage: Stage,
    /// Arguments; variables of the image hide them.
    args: BTreeMap<String, String>,
    cmd_is_own: bool,
    earlier: usize,
}

impl<'a> Walk<'a> {
    fn new(
        build: &Build,
        names: &'a BTreeMap<String, usize>,
        globals: &'a BTreeMap<String, String>,
        from: &FromInstruction<'_>,
        text: &'a str,
    ) -> Self {
        let image = words::expand(&from.image.value, globals);
        let base = if image.trim().is_empty() || image.starts_with(':') || image.ends_with(':') {
            Base::Unknown(from.image.value.to_string())
        } else if image == "scratch" {
            Base::Scratch
        } else {
            names.get(&image.to_lowercase()).map_or(Base::Image(image), |index| Base::Stage(*index))
        };
        let config = match &base {
            Base::Stage(index) => build.stages[*index].config.clone(),
            _ => Config { workdir: "/".to_owned(), ..Config::default() },
        };
        let stage = Stage {
            line: line(text, &from.from.span),
            base,
            layers: Vec::new(),
            config,
            values: Vec::new(),
            variables: Vec::new(),
        };
        let earlier = build.stages.len();
        Self { names, globals, text, stage, args: BTreeMap::new(), cmd_is_own: false, earlier }
    }

    fn through(mut self, instructions: &[Instruction<'_>]) -> Stage {
        for instruction in instructions {
            self.step(instruction);
        }
        self.stage
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let mut all = self.args.clone();
        all.extend(self.stage.config.env.clone());
        all
    }

    fn expand(&mut self, at: usize, text: &str) -> String {
        let value = words::expand(text, &self.variables());
        self.stage.values.push((at, value.clone()));
        value
    }

    fn step(&mut self, instruction: &Instruction<'_>) {
        match instruction {
            Instruction::Arg(arg) => {
                let at = line(self.text, &arg.arg.span);
                for (name, default) in words::pairs(&arg.arguments.value, false) {
                    self.stage.variables.push((at, name.clone()));
                    let value = match default {
                        Some(default) => Some(self.expand(at, &default)),
                        None => self.globals.get(&name).cloned(),
                    };
                    if let Some(value) = value {
                        self.args.insert(name, value);
                    }
                }
            }
            Instruction::Env(env) => {
                let at = line(self.text, &env.env.span);
                // All of one instruction see what was before it.
                let pairs: Vec<(String, String)> = words::pairs(&env.arguments.value, true)
                    .into_iter()
                    .map(|(name, value)| (name, self.expand(at, &value.unwrap_or_default())))
                    .collect();
                for (name, value) in pairs {
                    self.stage.variables.push((at, name.clone()));
                    self.stage.config.env.insert(name, value);
                }
            }
            Instruction::User(user) => {
                let at = line(self.text, &user.user.span);
                let value = self.expand(at, unquoted(&user.arguments.value));
                self.stage.config.user = Some((at, value.trim().to_owned()));
            }
            Instruction::Workdir(workdir) => {
                let at = line(self.text, &workdir.workdir.span);
                let value = self.expand(at, unquoted(&workdir.arguments.value));
                self.stage.config.workdir = join(&self.stage.config.workdir, &value);
            }
            Instruction::Expose(expose) => {
                let at = line(self.text, &expose.expose.span);
                for port in &expose.arguments {
                    let value = self.expand(at, &port.value);
                    self.stage.config.expose.extend(ports(&value));
                }
            }
            Instruction::Entrypoint(entrypoint) => {
                let at = line(self.text, &entrypoint.entrypoint.span);
                self.stage.config.entrypoint = start(at, &entrypoint.arguments);
                // A new entry point drops the arguments that came with the base.
                if !self.cmd_is_own {
                    self.stage.config.cmd = None;
                }
            }
            Instruction::Cmd(cmd) => {
                let at = line(self.text, &cmd.cmd.span);
                self.stage.config.cmd = start(at, &cmd.arguments);
                self.cmd_is_own = true;
            }
            Instruction::Copy(copy) => {
                let at = line(self.text, &copy.copy.span);
                self.copy(at, &copy.options, &copy.src, &copy.dest.value, None);
            }
            Instruction::Add(add) => {
                let at = line(self.text, &add.add.span);
                let checked = add.options.iter().any(|flag| flag.name.value == "checksum");
                self.copy(at, &add.options, &add.src, &add.dest.value, Some(checked));
            }
            Instruction::Run(run) => {
                let at = line(self.text, &run.run.span);
                let mut commands = match &run.arguments {
                    Command::Exec(words) => {
                        vec![words.value.iter().map(|word| word.value.to_string()).collect()]
                    }
                    Command::Shell(script) => words::commands(script.value),
                    _ => Vec::new(),
                };
                // `sh -c "..."` in exec form is a script, too.
                if let [command] = commands.as_slice()
                    && let [shell, flag, script] = command.as_slice()
                    && shell.ends_with("sh")
                    && flag.ends_with('c')
                {
                    commands = words::commands(script);
                }
                for document in &run.here_docs {
                    commands.extend(words::commands(&document.value));
                }
                let variables = self.variables();
                for command in &mut commands {
                    for word in command.iter_mut() {
                        *word = words::expand(word, &variables);
                    }
                    self.stage.values.push((at, command.join(" ")));
                }
                self.run(at, &run.options, commands);
            }
            Instruction::Label(label) => {
                let at = line(self.text, &label.label.span);
                self.expand(at, &label.arguments.value);
            }
            // What it holds happens when another image is built on this one: an image that brings it is none the
            // better for that.
            Instruction::Onbuild(onbuild) => {
                let config = self.stage.config.clone();
                self.step(&onbuild.instruction);
                self.stage.config = config;
            }
            _ => {}
        }
    }

    fn copy(
        &mut self,
        at: usize,
        options: &[Flag<'_>],
        sources: &[Source<'_>],
        dest: &str,
        add: Option<bool>,
    ) {
        let mut paths = Vec::new();
        for source in sources {
            match source {
                Source::Path(path) => paths.push(self.expand(at, &path.value)),
                Source::HereDoc(document) => self.stage.values.push((at, document.value.to_string())),
                _ => {}
            }
        }
        let flag = |name: &'static str| {
            options.iter().filter(move |flag| flag.name.value == name).filter_map(|flag| flag.value.as_ref())
        };
        let excludes = flag("exclude").map(|value| value.value.to_string()).collect();
        let from = flag("from").next().map(|value| value.value.to_string());
        let from = from.map(|from| self.place(&words::expand(&from, &self.variables())));
        let mut dest = self.expand(at, dest);
        let folder = dest.ends_with('/') || dest.ends_with("/.") || dest == "." || paths.len() > 1;
        dest = join(&self.stage.config.workdir, &dest);
        if folder && !dest.ends_with('/') {
            dest.push('/');
        }
        let does = Does::Copy { from, sources: paths, excludes, dest, add };
        self.stage.layers.push(Layer { line: at, does });
    }

    fn run(&mut self, at: usize, options: &[Flag<'_>], commands: Vec<Vec<String>>) {
        let (mut caches, mut from) = (Vec::new(), Vec::new());
        let mounts = options.iter().filter(|flag| flag.name.value == "mount");
        for mount in mounts.filter_map(|flag| flag.value.as_ref()) {
            let fields: BTreeMap<&str, &str> =
                mount.value.split(',').filter_map(|field| field.split_once('=')).collect();
            let target = ["target", "dst", "destination"].iter().find_map(|key| fields.get(key));
            match fields.get("type").copied().unwrap_or("bind") {
                "cache" => caches.extend(target.map(|target| (*target).to_owned())),
                // What is mounted from the build context is in no layer.
                "bind" => {
                    if let Some(place) = fields.get("from") {
                        from.push(self.place(&words::expand(place, &self.variables())));
                    }
                }
                _ => {}
            }
        }
        self.stage.layers.push(Layer { line: at, does: Does::Run { commands, caches, from } });
    }

    /// Resolves what `--from` names: a stage by name or number, or an image.
    fn place(&self, name: &str) -> Base {
        if let Some(index) = self.names.get(&name.to_lowercase()) {
            return Base::Stage(*index);
        }
        match name.parse::<usize>() {
            Ok(index) if index < self.earlier => Base::Stage(index),
            _ if name.is_empty() => Base::Unknown(name.to_owned()),
            _ => Base::Image(name.to_owned()),
        }
    }
}

/// Returns the line, from 1, on which a span begins.
fn line(text: &str, span: &Span) -> usize {
    let bytes = text.as_bytes();
    bytes[..span.start.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}

fn start(line: usize, command: &Command<'_>) -> Option<Start> {
    match command {
        Command::Exec(words) => {
            let words: Vec<String> = words.value.iter().map(|word| word.value.to_string()).collect();
            (!words.is_empty()).then_some(Start { line, exec: true, words })
        }
        Command::Shell(text) => {
            let text = text.value.trim().to_owned();
            (!text.is_empty()).then(|| Start {
                line,
                exec: false,
                words: vec!["/bin/sh".to_owned(), "-c".to_owned(), text],
            })
        }
        _ => None,
    }
}

/// Joins paths, and takes `.`, `..` and doubled slashes out.
pub(super) fn join(folder: &str, path: &str) -> String {
    let all = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in all.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Writes ports out with their protocol: `8080`, `53/udp`, `80-82`.
pub(super) fn ports(text: &str) -> Vec<String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    let ends = range.split_once('-').unwrap_or((range, range));
    match (ends.0.parse::<u16>(), ends.1.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => {
            (first..=last).map(|port| format!("{port}/{protocol}")).collect()
        }
        _ => vec![text.to_owned()],
    }
}
