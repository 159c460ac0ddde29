//! How much memory there is.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The memory that this program may use, in bytes: that of the machine, or less where the operating system
/// says so. `None`: it is not known. Found out once.
pub(super) fn memory() -> Option<usize> {
    static MEMORY: OnceLock<Option<usize>> = OnceLock::new();
    *MEMORY.get_or_init(|| {
        let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| installed(&text));
        [installed, allowed()].into_iter().flatten().min()
    })
}

/// What `/proc/meminfo` says that the machine has.
fn installed(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What the control group of this process, or one above it, lets it have.
fn allowed() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| {
        let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max")).ok()?;
        // "max" is no limit.
        text.trim().parse().ok()
    };
    Path::new(group).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::installed;

    #[test]
    fn the_memory_of_a_machine_is_read_in_kib() {
        assert_eq!(installed("MemTotal:       16314136 kB\nMemFree: 1 kB\n"), Some(16_314_136 << 10));
        for unknown in ["", "MemFree: 1 kB", "MemTotal: much kB", "MemTotal: 1 MB"] {
            assert_eq!(installed(unknown), None, "{unknown:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_known_on_linux() {
        assert!(super::memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
