//! Which source files of a crate import one another in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module: the names on the way to it from the crate's root.
type Module = Vec<String>;

/// The circles of imports among the files of the crate in `folder`: each a set of at least two files, every
/// one of which imports every other, directly or through the set. Only `use` declarations are looked at, and
/// tests are not.
///
/// # Panics
/// Where a source file cannot be read.
pub fn import_circles(folder: &Path) -> Vec<Vec<PathBuf>> {
    let src = folder.join("src");
    let mut files = BTreeMap::new();
    find(&src, &mut Vec::new(), &mut files);
    let modules: Vec<&Module> = files.keys().collect();
    let arrows: Vec<BTreeSet<usize>> = files
        .iter()
        .map(|(module, path)| {
            let text = std::fs::read_to_string(path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let used = uses(&text).into_iter().filter_map(|path| resolve(&path, module, &files));
            used.filter(|target| target != module)
                .map(|target| modules.binary_search(&&target).expect("a module"))
                .collect()
        })
        .collect();
    let path = |i: &usize| files[modules[*i]].strip_prefix(folder).expect("within").to_owned();
    circles(&arrows).iter().map(|circle| circle.iter().map(path).collect()).collect()
}

/// The module files under `folder`.
fn find(folder: &Path, module: &mut Module, files: &mut BTreeMap<Module, PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            module.push(name);
            find(&path, module, files);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let root = matches!(&*name, "lib" | "main" | "mod");
            let own = module.iter().cloned().chain((!root).then_some(name));
            files.insert(own.collect(), path);
        }
    }
}

/// Every path that the `use` declarations of a file name, before its tests.
fn uses(text: &str) -> Vec<Vec<String>> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].lines().last().unwrap_or_default().trim_start();
        let starts = code[..at].ends_with('\n') || before.is_empty() || before.starts_with("pub");
        let Some(end) = code[at..].find(';').filter(|_| starts) else { continue };
        expand(&code[at + 4..at + end], &[], &mut found);
    }
    found
}

/// The paths of a tree such as `a::{b, c::{d, e}}`.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().split("::");
        let path = path.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        found.push(before.iter().cloned().chain(path).collect());
        return;
    };
    let names = tree[..open].split("::").map(|name| name.trim().to_owned());
    let before: Vec<String> =
        before.iter().cloned().chain(names.filter(|name| !name.is_empty())).collect();
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    for (i, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth <= 0 => {
                if !inner[start..i].trim().is_empty() {
                    expand(&inner[start..i], &before, found);
                }
                start = (i + 1).min(inner.len());
            }
            _ => {}
        }
    }
}

/// The file that a path leads to from `module`; `None` where it leads out of the crate.
fn resolve(path: &[String], module: &Module, files: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut names = path.iter().peekable();
    let mut at = match names.peek().map(|name| name.as_str()) {
        Some("crate") => {
            names.next();
            Vec::new()
        }
        Some("self") => {
            names.next();
            module.clone()
        }
        Some("super") => module.clone(),
        Some(name) => {
            let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
            files.contains_key(&child).then(|| module.clone())?
        }
        None => return None,
    };
    while names.next_if(|name| *name == "super").is_some() {
        at.pop()?;
    }
    for name in names {
        at.push(name.clone());
    }
    while !files.contains_key(&at) {
        at.pop()?;
    }
    Some(at)
}

/// The strongly connected components of at least two nodes, after Kosaraju.
fn circles(arrows: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    fn visit(node: usize, arrows: &[BTreeSet<usize>], seen: &mut [bool], order: &mut Vec<usize>) {
        if std::mem::replace(&mut seen[node], true) {
            return;
        }
        for next in &arrows[node] {
            visit(*next, arrows, seen, order);
        }
        order.push(node);
    }
    let mut back = vec![BTreeSet::new(); arrows.len()];
    for (from, to) in arrows.iter().enumerate() {
        for to in to {
            back[*to].insert(from);
        }
    }
    let (mut seen, mut order) = (vec![false; arrows.len()], Vec::new());
    (0..arrows.len()).for_each(|node| visit(node, arrows, &mut seen, &mut order));
    let mut seen = vec![false; arrows.len()];
    let mut found = Vec::new();
    for node in order.into_iter().rev() {
        let mut circle = Vec::new();
        visit(node, &back, &mut seen, &mut circle);
        circle.sort_unstable();
        found.extend((circle.len() > 1).then_some(circle));
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_uses_is_expanded() {
        let text =
            "//! use crate::x;\nuse std::fmt;\npub(crate) use crate::{a::{B, c as d}, e::*};\n";
        let found: Vec<String> = uses(text).iter().map(|path| path.join("::")).collect();
        assert_eq!(found, ["std::fmt", "crate::a::B", "crate::a::c", "crate::e::*"]);
    }

    #[test]
    fn circles_are_found_and_chains_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let src = folder.path().join("src");
        std::fs::create_dir_all(src.join("b")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(src.join(name), text).unwrap();
        write("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n");
        write("a.rs", "use crate::b::inner::I;\n");
        write("b/mod.rs", "mod inner;\npub use inner::I;\n");
        write("b/inner.rs", "use crate::c::C;\n");
        write("c.rs", "use super::a::A;\n");
        let circle = ["src/a.rs", "src/b/inner.rs", "src/c.rs"].map(PathBuf::from);
        assert_eq!(import_circles(folder.path()), [circle.to_vec()]);
        write("c.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
        assert!(import_circles(folder.path()).is_empty());
    }
}
