//! What a cargo workspace certainly builds, read from its lock file and manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::DataError;

/// A package from a registry, pinned by a lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pinned {
    pub name: String,
    pub version: String,
}

impl std::fmt::Display for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.name, self.version)
    }
}

/// A workspace with a lock file.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of `Cargo.lock`.
    pub root: PathBuf,
    lock: Vec<Locked>,
    manifest: Manifest,
}

#[derive(Debug, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Manifest {
    package: Option<PackageName>,
    workspace: Option<WorkspaceTable>,
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
    #[serde(default)]
    build_dependencies: BTreeMap<String, Dependency>,
}

#[derive(Debug, Deserialize)]
struct PackageName {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WorkspaceTable {
    members: Option<Vec<String>>,
    default_members: Option<Vec<String>>,
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Dependency {
    Version(#[allow(dead_code, reason = "says only that the value is a text")] String),
    Table(DependencyTable),
}

#[derive(Debug, Clone, Default, Deserialize)]
struct DependencyTable {
    package: Option<String>,
    path: Option<PathBuf>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    workspace: bool,
}

impl Dependency {
    fn table(&self) -> DependencyTable {
        match self {
            Self::Version(_) => DependencyTable::default(),
            Self::Table(table) => table.clone(),
        }
    }
}

impl Workspace {
    /// The workspace whose lock file stands in `start` or the nearest folder above it.
    pub fn find(start: &Path) -> Result<Self, DataError> {
        let start = start.canonicalize().map_err(DataError::read(start))?;
        let Some(root) = start.ancestors().find(|folder| folder.join("Cargo.lock").is_file())
        else {
            return Err(DataError::CargoCorpus {
                reason: format!(
                    "no Cargo.lock in {} or above; set data.workspace to a cargo workspace",
                    start.display()
                ),
            });
        };
        let lock: Lock = parse(&root.join("Cargo.lock"))?;
        let manifest = parse(&root.join("Cargo.toml"))?;
        Ok(Self { root: root.to_owned(), lock: lock.package, manifest })
    }

    /// The registry packages that every build of the default members needs, whatever the platform
    /// and the features, with the folders that `locate` finds them in.
    ///
    /// These are reached through dependencies, build dependencies included, that are neither
    /// optional nor for one platform nor for tests. So cargo has unpacked each of them once the
    /// workspace is built, and the set depends on the lock file and the manifests alone. Passed over
    /// are packages from git and dependencies on several versions of one package at once, which
    /// only a whole resolver could tell apart.
    pub fn certain_packages(
        &self,
        locate: &mut dyn FnMut(&Pinned) -> Result<PathBuf, DataError>,
    ) -> Result<BTreeMap<Pinned, PathBuf>, DataError> {
        let mut found = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open = self.default_members()?;
        while let Some((package, folder)) = open.pop() {
            let manifest: Manifest = parse(&folder.join("Cargo.toml"))?;
            for (key, dependency) in
                manifest.dependencies.iter().chain(&manifest.build_dependencies)
            {
                let Some((name, path)) = self.certain(&folder, key, dependency) else { continue };
                let Some(locked) = self.locked_dependency(package, &name) else { continue };
                if !seen.insert((&locked.name, &locked.version)) {
                    continue;
                }
                if let Some(path) = path {
                    open.push((locked, path));
                } else if is_registry(locked) {
                    let Locked { name, version, .. } = locked;
                    let pinned = Pinned { name: name.clone(), version: version.clone() };
                    let folder = locate(&pinned)?;
                    found.insert(pinned, folder.clone());
                    open.push((locked, folder));
                }
            }
        }
        Ok(found)
    }

    /// The package that a dependency names, and its folder if it is one of the workspace; none for
    /// an optional dependency.
    fn certain(
        &self,
        folder: &Path,
        key: &str,
        dependency: &Dependency,
    ) -> Option<(String, Option<PathBuf>)> {
        let table = dependency.table();
        if table.optional {
            return None;
        }
        let (base, table) = if table.workspace {
            let shared = &self.manifest.workspace.as_ref()?.dependencies;
            (self.root.as_path(), shared.get(key)?.table())
        } else {
            (folder, table)
        };
        let name = table.package.unwrap_or_else(|| key.to_owned());
        Some((name, table.path.map(|path| base.join(path))))
    }

    /// The entry of the lock file for a package's dependency: `name`, or `name version` where the
    /// lock file has several versions.
    fn locked_dependency(&self, package: &Locked, name: &str) -> Option<&Locked> {
        let mut candidates = package.dependencies.iter().filter_map(|dependency| {
            let mut words = dependency.split(' ');
            (words.next() == Some(name)).then(|| words.next())
        });
        let (version, None) = (candidates.next()?, candidates.next()) else { return None };
        self.lock.iter().find(|locked| {
            locked.name == name && version.is_none_or(|version| locked.version == version)
        })
    }

    /// The packages that a plain `cargo build` at the root builds.
    fn default_members(&self) -> Result<Vec<(&Locked, PathBuf)>, DataError> {
        let mut folders = Vec::new();
        if self.manifest.package.is_some() {
            folders.push(self.root.clone());
        }
        if let Some(workspace) = &self.manifest.workspace
            && (folders.is_empty() || workspace.default_members.is_some())
        {
            let members = workspace.default_members.as_ref().or(workspace.members.as_ref());
            for pattern in members.into_iter().flatten() {
                let pattern = self.root.join(pattern);
                let paths = glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten();
                folders.extend(paths.filter(|path| path.join("Cargo.toml").is_file()));
            }
        }
        let mut members = Vec::new();
        for folder in folders {
            let manifest: Manifest = parse(&folder.join("Cargo.toml"))?;
            let Some(PackageName { name }) = manifest.package else { continue };
            let locked = |locked: &&Locked| locked.name == name && locked.source.is_none();
            members.extend(self.lock.iter().find(locked).map(|locked| (locked, folder)));
        }
        Ok(members)
    }
}

fn is_registry(package: &Locked) -> bool {
    package
        .source
        .as_ref()
        .is_some_and(|source| source.starts_with("registry+") || source.starts_with("sparse+"))
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, DataError> {
    let text = std::fs::read_to_string(path).map_err(DataError::read(path))?;
    toml::from_str(&text).map_err(|error| DataError::CargoCorpus {
        reason: format!("{} is not what cargo writes: {error}", path.display()),
    })
}
