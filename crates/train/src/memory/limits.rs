//! How much memory this process can still have: of the machine, and by its limits.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory that can still be had, and what says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Available {
    pub bytes: u64,
    /// As the end of a sentence: `free on this machine`.
    pub by: String,
}

impl Available {
    fn new(bytes: u64, by: impl Into<String>) -> Self {
        Self { bytes, by: by.into() }
    }
}

/// The least that the machine and the limits leave; none where the system does not say, as outside of
/// Linux.
pub(super) fn available() -> Option<Available> {
    let (meminfo, status) = (read("/proc/meminfo"), read("/proc/self/status"));
    let limits = read("/proc/self/limits");
    let machine = kilobytes(&meminfo, "MemAvailable")
        .map(|bytes| Available::new(bytes, "free on this machine"));
    let limit = |name: &str, used: &str, command: &str| {
        let left = soft_limit(&limits, name)?.saturating_sub(kilobytes(&status, used)?);
        Some(Available::new(left, format!("left of the limit of {command}")))
    };
    let space = limit("Max address space", "VmSize", "`ulimit -v`");
    let data = limit("Max data size", "VmData", "`ulimit -d`");
    let groups = control_groups(&read("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    [machine, space, data].into_iter().flatten().chain(groups).min_by_key(|left| left.bytes)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A line `name: 123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of /proc/self/limits under this name; none where there is no limit.
fn soft_limit(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What the control groups of the process leave, those above its own too: of version 2 and of version 1.
fn control_groups(own: &str, mounted: &Path) -> Vec<Available> {
    let found = own.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        let files = match controllers {
            "" => ["memory.max", "memory.current", "inactive_file"],
            _ if controllers.split(',').any(|name| name == "memory") => {
                ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"]
            }
            _ => return None,
        };
        let root = if controllers.is_empty() { mounted.to_owned() } else { mounted.join("memory") };
        Some((root, PathBuf::from(path.trim_start_matches('/')), files))
    });
    let groups = found.flat_map(|(root, path, files)| {
        let above = path.ancestors().map(|path| root.join(path)).collect::<Vec<_>>();
        above.into_iter().filter_map(move |folder| group(&folder, files))
    });
    groups.collect()
}

/// What one control group leaves; none where it has no limit.
fn group(folder: &Path, [limit, used, cache]: [&str; 3]) -> Option<Available> {
    let number = |name: &str| read(folder.join(name)).trim().parse::<u64>().ok();
    let (limit, used) = (number(limit)?, number(used)?);
    // Pages of files that the system gives back by itself.
    let statistics = read(folder.join("memory.stat"));
    let cached = statistics.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse().ok());
    let used = used.saturating_sub(cached.unwrap_or(0));
    let by = format!("left of the limit of the control group {}", folder.display());
    Some(Available::new(limit.saturating_sub(used), by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_system_writes_them() {
        let status = "VmPeak:\t    9 kB\nVmSize:\t  1234 kB\n";
        assert_eq!(kilobytes(status, "VmSize"), Some(1234 << 10));
        assert_eq!(kilobytes(status, "VmData"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max data size             unlimited            unlimited            bytes\n\
                      Max address space         2048000              unlimited            bytes\n";
        assert_eq!(soft_limit(limits, "Max address space"), Some(2_048_000));
        assert_eq!(soft_limit(limits, "Max data size"), None);
    }

    #[test]
    fn groups_of_both_versions_count_and_those_above_them() {
        let mounted = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = mounted.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "1000\n");
        write("a/memory.current", "400\n");
        write("a/memory.stat", "anon 300\ninactive_file 100\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "1\n");
        write("memory/c/memory.limit_in_bytes", "500\n");
        write("memory/c/memory.usage_in_bytes", "600\n");
        let left = |own: &str| -> Vec<u64> {
            control_groups(own, mounted.path()).into_iter().map(|left| left.bytes).collect()
        };
        assert_eq!(left("0::/a/b\n"), [700]);
        assert_eq!(left("5:cpu,memory:/c\n0::/\n1:cpu:/a\n"), [0]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_tells() {
        assert!(available().is_some_and(|left| left.bytes > 0));
    }
}
