//! The Rust sources of the crates that a cargo workspace is built from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rappel_config::{OptionSet, Options};
use serde::Deserialize;

use super::{DocumentRef, Source, SourceEntry};
use crate::DataError;
use crate::cargo_workspace::{Pinned, Workspace};
use crate::walk::{portable_name, walk};

pub(super) const ENTRY: SourceEntry = SourceEntry {
    name: "cargo",
    summary: "the Rust sources of the crates a workspace is built from, as cargo unpacked them",
    reference: "https://doc.rust-lang.org/cargo/guide/cargo-home.html",
    fields: Cargo::FIELDS,
    build: |options| Ok(Box::new(Cargo::from_options(options)?)),
};

/// The same documents on every machine for the same lock file: those of the packages that any build
/// of the workspace unpacks, see [`Workspace::certain_packages`], of each package the newest version.
#[derive(Debug, Options)]
struct Cargo {
    /// a folder of the workspace
    #[option(default = ".", changeable)]
    workspace: PathBuf,
    /// where cargo keeps its registry; unset: $CARGO_HOME, else .cargo in the home folder
    #[option(changeable)]
    cargo_home: Option<PathBuf>,
}

impl Source for Cargo {
    fn list(&self) -> Result<Vec<DocumentRef>, DataError> {
        let workspace = Workspace::find(&self.workspace)?;
        let mut unpacked = Unpacked {
            registries: self.registries()?,
            root: &workspace.root,
            cargo_home: self.cargo_home.as_deref(),
            told: None,
        };
        let packages = workspace.certain_packages(&mut |package| unpacked.locate(package))?;
        let mut documents = Vec::new();
        for (package, folder) in newest(packages) {
            let is_rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
            for path in walk(&folder, &is_rust)? {
                let inside = portable_name(&path, &folder)?;
                documents.push(DocumentRef { name: format!("{package}/{inside}"), path });
            }
        }
        Ok(documents)
    }
}

impl Cargo {
    /// The folders `$CARGO_HOME/registry/src/*`, sorted; none where cargo keeps no such folder.
    fn registries(&self) -> Result<Vec<PathBuf>, DataError> {
        let from_environment = || std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let below_home = || std::env::home_dir().map(|home| home.join(".cargo"));
        let Some(home) = self.cargo_home.clone().or_else(from_environment).or_else(below_home)
        else {
            return Ok(Vec::new());
        };
        let sources = home.join("registry/src");
        if !sources.is_dir() {
            return Ok(Vec::new());
        }
        let listing = std::fs::read_dir(&sources).map_err(DataError::read(&sources))?;
        let mut folders = Vec::new();
        for entry in listing {
            folders.push(entry.map_err(DataError::read(&sources))?.path());
        }
        folders.sort_unstable();
        Ok(folders)
    }
}

/// Of several versions of a package the newest: their files are mostly the same, and a copy in the
/// training documents would give away what stands in a validation document.
fn newest(packages: BTreeMap<Pinned, PathBuf>) -> BTreeMap<Pinned, PathBuf> {
    let mut newest = BTreeMap::<String, (Pinned, PathBuf)>::new();
    for (package, folder) in packages {
        let known = newest.get(&package.name);
        if known.is_none_or(|(known, _)| numbers(&known.version) < numbers(&package.version)) {
            newest.insert(package.name.clone(), (package, folder));
        }
    }
    newest.into_values().collect()
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0)).collect()
}

/// Finds where packages are unpacked.
struct Unpacked<'a> {
    registries: Vec<PathBuf>,
    root: &'a Path,
    cargo_home: Option<&'a Path>,
    /// What `cargo metadata` told, once asked.
    told: Option<BTreeMap<Pinned, PathBuf>>,
}

impl Unpacked<'_> {
    fn locate(&mut self, package: &Pinned) -> Result<PathBuf, DataError> {
        let folder = package.to_string();
        let unpacked = self.registries.iter().map(|registry| registry.join(&folder));
        if let Some(found) = unpacked.into_iter().find(|path| path.join("Cargo.toml").is_file()) {
            return Ok(found);
        }
        // Vendored or otherwise replaced registries: only cargo knows where.
        let told = self
            .told
            .get_or_insert_with(|| ask_cargo(self.root, self.cargo_home).unwrap_or_default());
        told.get(package).cloned().ok_or_else(|| DataError::CargoCorpus {
            reason: format!(
                "{folder}, which {} pins, is not unpacked; run `cargo fetch --locked` there",
                self.root.join("Cargo.lock").display()
            ),
        })
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// What `cargo metadata` says of a workspace without going online; none where there is no cargo or
/// where it would have to.
fn ask_cargo(root: &Path, cargo_home: Option<&Path>) -> Option<BTreeMap<Pinned, PathBuf>> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(["metadata", "--format-version", "1", "--locked", "--offline"]).current_dir(root);
    if let Some(cargo_home) = cargo_home {
        command.env("CARGO_HOME", std::path::absolute(cargo_home).ok()?);
    }
    let answer = command.output().ok().filter(|answer| answer.status.success())?;
    let metadata: Metadata = serde_json::from_slice(&answer.stdout).ok()?;
    let place = |package: MetadataPackage| {
        let MetadataPackage { name, version, manifest_path } = package;
        Some((Pinned { name, version }, manifest_path.parent()?.to_owned()))
    };
    Some(metadata.packages.into_iter().filter_map(place).collect())
}
