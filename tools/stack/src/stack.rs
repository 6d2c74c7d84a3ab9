//! The parts as one thing: started together, stopped together.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::addresses::Addresses;
use crate::binaries::{Binaries, binaries};
use crate::error::{Error, Result};
use crate::guard::{Guard, Process, ProcessSpec};
use crate::installation::{self, Installation, Shape};
use crate::native::cache;
use crate::part::{Part, PartKind};
use crate::progress::Progress;
use crate::provider::Provider;
use crate::services::{self, Labels, ServiceOptions, Services};
use crate::state::{Entry, State};
use crate::{compose, database, external, native};

/// An orderly stop of everything: each server has its own, shorter limit.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// For parts that should be up already to answer.
const EXTERNAL_LIMIT: Duration = Duration::from_secs(30);

/// What to start and where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the parts come from; found by itself when `None`.
    pub provider: Option<Provider>,
    /// The folder for data and logs. When `None` it is a temporary one, which
    /// goes with the stack; otherwise the logs stay.
    pub folder: Option<PathBuf>,
    /// Kafka brokers to start with the native provider; 0 means 1.
    pub brokers: u16,
    /// Whether brokers live for minutes only, as in tests. Java then compiles what
    /// they run once and quickly; compiling it well takes longer than that saves.
    pub short_lived: bool,
    /// A schema registry that runs already, used by the native provider instead of one of
    /// its own.
    pub registry_url: Option<String>,
    /// Whether brokers of the native provider have a second address, see [`Detour`].
    pub detour: bool,
}

/// Running parts. They stop when this is dropped, and also when this process
/// is killed, unless they were left running by [`Stack::leave_running`].
#[derive(Debug)]
pub struct Stack {
    provider: Provider,
    addresses: Addresses,
    parts: Vec<Part>,
    guard: Guard,
    folder: PathBuf,
    labels: Labels,
    progress: Progress,
}

impl Stack {
    /// Starts the parts, fetching them first if need be; returns when all are
    /// ready.
    ///
    /// # Errors
    /// When no provider can be used here, or a part does not start: the error
    /// shows the end of its log. Nothing is left running then.
    pub async fn start(options: Options, progress: &Progress) -> Result<Self> {
        let provider = Provider::find(options.provider).await?;
        // The compiler and the download do not get in each other's way.
        let (stack_binary, parts) = tokio::try_join!(guard_binary(progress), async {
            match provider {
                Provider::Native => cache::parts(progress).await.map(Some),
                Provider::Compose | Provider::External => Ok(None),
            }
        })?;
        let (folder, guard) = guarded_folder(&stack_binary, options.folder.as_deref())?;
        let (addresses, parts) = match (provider, parts) {
            (Provider::Native, Some(parts)) => {
                native::start(&guard, &parts, &folder, &options, progress).await?
            }
            (Provider::Compose, _) => {
                guard.run_at_end(compose::end_command())?;
                compose::start(progress).await?
            }
            _ => {
                let addresses = external::addresses()?;
                let parts = external::parts(&addresses);
                for part in &parts {
                    part.wait_ready(EXTERNAL_LIMIT).await?;
                }
                (addresses, parts)
            }
        };
        Ok(Self {
            provider,
            addresses,
            parts,
            guard,
            folder,
            labels: Labels::default(),
            progress: progress.clone(),
        })
    }

    /// Takes up a stack that runs on its own, to start more beside it. What
    /// is started through the result is bound to it, not to that stack.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub async fn join(state: &State, folder: &Path, progress: &Progress) -> Result<Self> {
        let (folder, guard) = guarded_folder(&guard_binary(progress).await?, Some(folder))?;
        Ok(Self {
            provider: state.provider,
            addresses: state.addresses.clone(),
            parts: external::parts(&state.addresses),
            guard,
            folder,
            labels: Labels::default(),
            progress: progress.clone(),
        })
    }

    /// Where the parts come from.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Where the parts are.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The folder of data and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The parts, brokers first.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The first part of a kind.
    ///
    /// # Errors
    /// When there is none.
    pub fn part(&self, kind: PartKind) -> Result<&Part> {
        let found = self.parts.iter().find(|part| part.kind == kind);
        found.ok_or_else(|| Error::Invalid(format!("the stack has no {kind:?}")))
    }

    /// The usual installation: databases named like the services, topics under
    /// `topic_prefix`. With the external provider the databases that the
    /// environment names are used.
    ///
    /// # Errors
    /// When databases, topics or schemas cannot be applied.
    pub async fn install(&self, topic_prefix: &str) -> Result<Installation> {
        let given = match self.provider {
            Provider::External => external::databases(),
            Provider::Native | Provider::Compose => Default::default(),
        };
        let task = self.progress.task("topics, schemas");
        task.update("applying");
        let shape = Shape {
            partitions: None,
            replicas: self.replicas(),
        };
        let installed =
            installation::create(&self.addresses, "", topic_prefix, shape, given).await?;
        task.done("applied");
        Ok(installed)
    }

    /// An installation beside others, under a name of its own that begins so: others' parts
    /// may hold what a former one has left. With so many partitions of each topic where they
    /// are not to be as declared.
    ///
    /// # Errors
    /// As [`Stack::fresh_installation`].
    pub async fn new_installation(
        &self,
        name: &str,
        partitions: Option<i32>,
    ) -> Result<Installation> {
        let number = Uuid::new_v4().simple().to_string();
        let name = format!("{name}_{}", &number[..8]);
        self.fresh_installation_with(&name, partitions).await
    }

    /// An installation beside others: topics under "`name`.", and a database
    /// `<service>_<name>` for each service.
    ///
    /// # Errors
    /// When the name has other than lower-case letters, digits and
    /// underscores, or more than 40 of them; when something cannot be applied.
    pub async fn fresh_installation(&self, name: &str) -> Result<Installation> {
        self.fresh_installation_with(name, None).await
    }

    async fn fresh_installation_with(
        &self,
        name: &str,
        partitions: Option<i32>,
    ) -> Result<Installation> {
        if !database::is_plain(name) {
            return Err(Error::Invalid(format!(
                "the installation's name {name:?} must be 1 to 40 lower-case letters, digits and \
                 underscores"
            )));
        }
        let prefix = format!("{name}.");
        let shape = Shape {
            partitions,
            replicas: self.replicas(),
        };
        installation::create(&self.addresses, name, &prefix, shape, Default::default()).await
    }

    /// Replicas of a topic on brokers of our own: as many as make sense.
    /// Others' clusters have topics as they are declared.
    fn replicas(&self) -> Option<i32> {
        let own = |part: &&Part| part.kind == PartKind::Kafka && part.process.is_some();
        match self.parts.iter().filter(own).count() {
            0 => None,
            brokers => i32::try_from(brokers.min(3)).ok(),
        }
    }

    /// Starts services for an installation; returns when all are ready. They
    /// stop with the stack.
    ///
    /// # Errors
    /// When one is not ready in time or ends: the error shows the end of its
    /// log.
    pub async fn start_services(
        &self,
        installation: &Installation,
        options: &ServiceOptions,
    ) -> Result<Services> {
        let binaries = match &options.programs {
            Some(folder) => Binaries::in_folder(folder.clone()),
            None => binaries(&self.progress).await?,
        };
        services::start(
            &self.guard,
            &binaries,
            &self.folder,
            &self.labels,
            installation,
            options,
            &self.progress,
        )
        .await
    }

    /// Starts any other server that shall stop with the stack.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, spec: ProcessSpec) -> Result<Process> {
        self.guard.run(spec).await
    }

    /// Stops everything; returns when all is gone.
    ///
    /// # Errors
    /// When something is not gone in time.
    pub async fn stop(self) -> Result<()> {
        self.guard.stop(STOP_LIMIT).await
    }

    /// Lets everything run on without this process, until
    /// [`down`](crate::down) is called for its folder, where it is recorded
    /// beside what `before` recorded there.
    ///
    /// # Errors
    /// When it cannot be recorded; then it stops as usual.
    pub async fn leave_running(
        self,
        installation: &Installation,
        services: Option<&Services>,
        before: Option<State>,
    ) -> Result<State> {
        let mut state = before.clone().unwrap_or_else(|| State {
            provider: self.provider,
            addresses: self.addresses.clone(),
            installation: installation.clone(),
            entries: self.parts.iter().map(part_entry).collect(),
            guards: Vec::new(),
            folders: Vec::new(),
        });
        for instance in services.iter().flat_map(|services| &services.instances) {
            let url = instance.http_url()?;
            state.entries.push(Entry {
                name: instance.process.spec().name.clone(),
                service: Some(instance.service),
                address: url.trim_start_matches("http://").to_owned(),
                process: instance.process.identity(),
                log: Some(instance.process.log().to_path_buf()),
            });
        }
        state.guards.push(self.guard.identity().clone());
        state.folders.extend(self.guard.folders());
        state.write(&self.folder)?;
        if let Err(error) = self.guard.detach().await {
            match before {
                Some(before) => before.write(&self.folder)?,
                None => State::remove(&self.folder)?,
            }
            return Err(error);
        }
        Ok(state)
    }
}

fn part_entry(part: &Part) -> Entry {
    Entry {
        name: part.name.clone(),
        service: None,
        address: part.address.clone(),
        process: part.process.as_ref().and_then(Process::identity),
        log: part
            .process
            .as_ref()
            .map(|process| process.log().to_path_buf()),
    }
}

/// The stack binary, to run as guard: this very program, if it is that.
async fn guard_binary(progress: &Progress) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Error::io("cannot find the running program"))?;
    match own.file_stem() {
        Some(name) if name == "stack" => Ok(own),
        _ => Ok(binaries(progress).await?.stack()),
    }
}

/// The folder of a stack, and its guard.
fn guarded_folder(stack_binary: &Path, wanted: Option<&Path>) -> Result<(PathBuf, Guard)> {
    if let Some(wanted) = wanted {
        let doing = format!("cannot create {}", wanted.display());
        let folder = std::fs::create_dir_all(wanted)
            .and_then(|()| wanted.canonicalize())
            .map_err(Error::io(doing))?;
        let guard = Guard::start(stack_binary, &folder.join("guard.log"))?;
        return Ok((folder, guard));
    }
    let temporary = tempfile::Builder::new()
        .prefix("checkout-stack-")
        .tempdir()
        .map_err(Error::io("cannot create a temporary folder"))?;
    // PostgreSQL's user has to get through to its own folder in there.
    std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o711))
        .map_err(Error::io("cannot set up a temporary folder"))?;
    let guard = Guard::start(stack_binary, &temporary.path().join("guard.log"))?;
    // From here on the guard sees to its removal.
    guard.remove_at_end(temporary.path().to_path_buf())?;
    Ok((temporary.keep(), guard))
}
