//! A made-up `/sys` and a kernel that does what its script says.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;

use rustix::io::Errno;
use tempfile::TempDir;

use super::bind::{Control, change};
use super::lend::put_back;
use super::*;
use crate::mount::KernelMount;

/// What the kernel answers, which is otherwise to do what it is told.
#[derive(Debug, Default)]
struct Script {
    /// Words `DRIVER/FILE` that fail, each once or more often.
    failures: Vec<(&'static str, Errno)>,
    /// Drivers that know the device without being told.
    knows: Vec<&'static str>,
    /// Drivers that a module has.
    modules: Vec<&'static str>,
    holders: Option<String>,
    /// After how many looks the user wants an end.
    ends_after: Option<usize>,
    /// What was written, as `DRIVER/FILE`.
    written: Vec<String>,
    looks: usize,
}

#[derive(Debug)]
struct Kernel {
    sys: PathBuf,
    script: RefCell<Script>,
}

impl Control for Kernel {
    fn write(&self, path: &Path, device: &str) -> io::Result<()> {
        let file = path.file_name().unwrap().to_str().unwrap();
        let driver = path.parent().unwrap();
        let name = driver.file_name().unwrap().to_str().unwrap();
        let word = format!("{name}/{file}");
        let mut script = self.script.borrow_mut();
        script.written.push(word.clone());
        if let Some(at) = script
            .failures
            .iter()
            .position(|(failing, _)| *failing == word)
        {
            return Err(script.failures.remove(at).1.into());
        }
        let link = self.sys.join("bus/dax/devices").join(device).join("driver");
        match file {
            "unbind" => fs::remove_file(&link),
            "bind" if !script.knows.contains(&name) => Err(Errno::NODEV.into()),
            "bind" | "new_id" => symlink(driver, &link),
            "remove_id" => Ok(()),
            other => panic!("{other}"),
        }
    }

    fn load(&self, module: &str) -> Result<(), String> {
        if !self.script.borrow().modules.contains(&module) {
            return Err(format!("no module {module}"));
        }
        let driver = self.sys.join("bus/dax/drivers").join(module);
        fs::create_dir(&driver).unwrap();
        // What nobody has, a new driver takes if it knows it.
        let link = self.sys.join("bus/dax/devices/dax0.0/driver");
        if self.script.borrow().knows.contains(&module) && !link.exists() {
            symlink(driver, &link).unwrap();
        }
        Ok(())
    }

    fn holders(&self, _: &Device) -> Option<String> {
        self.script.borrow().holders.clone()
    }

    fn wait(&self) -> bool {
        let mut script = self.script.borrow_mut();
        script.looks += 1;
        script.ends_after.is_some_and(|end| script.looks > end)
    }
}

/// A host with one device, and the drivers that programs and kmem have.
struct Host {
    dir: TempDir,
    kernel: Rc<Kernel>,
}

const START: u64 = 0x4000_0000;
const SIZE: u64 = 512 << 20;

impl Host {
    fn new(driver: Option<&str>, script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path().join("sys");
        let device = sys.join("bus/dax/devices/dax0.0");
        fs::create_dir_all(&device).unwrap();
        for (file, text) in [
            ("size", format!("{SIZE}\n")),
            ("resource", format!("{START:#x}\n")),
            ("numa_node", "0\n".into()),
            ("target_node", "-1\n".into()),
            ("dev", "252:7\n".into()),
        ] {
            fs::write(device.join(file), text).unwrap();
        }
        for name in ["device_dax", "kmem"] {
            fs::create_dir_all(sys.join("bus/dax/drivers").join(name)).unwrap();
        }
        if let Some(driver) = driver {
            symlink(
                sys.join("bus/dax/drivers").join(driver),
                device.join("driver"),
            )
            .unwrap();
        }
        fs::create_dir(dir.path().join("dev")).unwrap();
        fs::write(dir.path().join("dev/dax0.0"), "").unwrap();
        let script = RefCell::new(script);
        let kernel = Rc::new(Kernel { sys, script });
        Self { dir, kernel }
    }

    fn tree(&self) -> Tree {
        Tree {
            sys: self.dir.path().join("sys"),
            dev: self.dir.path().join("dev"),
            run: self.dir.path().join("run"),
        }
    }

    fn driver(&self) -> Option<Driver> {
        self.tree().driver("dax0.0")
    }

    fn to(&self, driver: Option<&Driver>) -> Result<Binding, DaxError> {
        let control = Rc::clone(&self.kernel) as Rc<dyn Control>;
        change(self.tree(), control, Path::new("dax0.0"), driver, &[])
    }

    fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.kernel.script.borrow_mut().written)
    }

    fn memory_block(&self, index: u64, state: &str) {
        let memory = self.dir.path().join("sys/devices/system/memory");
        let block = memory.join(format!("memory{index}"));
        fs::create_dir_all(&block).unwrap();
        fs::write(memory.join("block_size_bytes"), "8000000\n").unwrap();
        fs::write(block.join("state"), format!("{state}\n")).unwrap();
    }
}

fn on_seven() -> Script {
    Script {
        knows: vec!["device_dax"],
        modules: vec!["fsdev_dax"],
        ..Script::default()
    }
}

#[test]
fn a_device_is_listed_with_all_that_is_known() {
    let host = Host::new(Some("device_dax"), Script::default());
    let source = host.dir.path().join("dev/dax0.0");
    let mounts = [KernelMount {
        source: source.clone(),
        mountpoint: "/mnt/famfs".into(),
        device: (0, 41),
    }];
    let found = host.tree().list(&mounts).unwrap();
    assert_eq!(
        found,
        [Device {
            name: "dax0.0".into(),
            path: source,
            size: SIZE,
            start: Some(START),
            numa_node: Some(0),
            target_node: Some(-1),
            number: Some((252, 7)),
            driver: Some(Driver::DeviceDax),
            system_ram: SystemRam::No,
            mounted: vec!["/mnt/famfs".into()],
        }]
    );
    let nothing = Tree {
        sys: host.dir.path().join("none"),
        dev: host.dir.path().into(),
        run: host.dir.path().into(),
    };
    assert_eq!(nothing.list(&[]).unwrap(), []);
}

#[test]
fn one_that_is_not_there_is_told_with_those_that_are() {
    let host = Host::new(None, Script::default());
    for asked in ["dax1.0", "/dev/null", "/no/such/node", "..", ""] {
        let error = host.tree().find(Path::new(asked), &[]).unwrap_err();
        assert!(error.to_string().contains("there are: dax0.0"), "{error}");
    }
    let node = host.dir.path().join("dev/dax0.0");
    // A node that has gone, as kmem leaves it.
    fs::remove_file(&node).unwrap();
    assert_eq!(host.tree().find(&node, &[]).unwrap().name, "dax0.0");
}

#[test]
fn a_driver_is_told_of_a_device_that_it_does_not_know() {
    let host = Host::new(Some("device_dax"), on_seven());
    let binding = host.to(Some(&Driver::FsdevDax)).unwrap();
    assert_eq!(binding.previous(), Some(&Driver::DeviceDax));
    assert!(binding.is_changed());
    assert_eq!(host.driver(), Some(Driver::FsdevDax));
    let written = ["device_dax/unbind", "fsdev_dax/bind", "fsdev_dax/new_id"];
    assert_eq!(host.written(), written);
    binding.restore().unwrap();
    assert_eq!(host.driver(), Some(Driver::DeviceDax));
    let written = ["fsdev_dax/unbind", "fsdev_dax/remove_id", "device_dax/bind"];
    assert_eq!(host.written(), written);
}

#[test]
fn a_driver_that_takes_it_by_itself_is_not_told_again() {
    let mut script = on_seven();
    script.knows.push("fsdev_dax");
    let host = Host::new(None, script);
    host.to(Some(&Driver::FsdevDax)).unwrap().keep();
    assert_eq!(host.driver(), Some(Driver::FsdevDax));
    assert_eq!(host.written(), [""; 0]);
}

#[test]
fn dropped_it_is_put_back_and_kept_it_stays() {
    let host = Host::new(Some("device_dax"), on_seven());
    drop(host.to(Some(&Driver::FsdevDax)).unwrap());
    assert_eq!(host.driver(), Some(Driver::DeviceDax));
    host.to(Some(&Driver::FsdevDax)).unwrap().keep();
    assert_eq!(host.driver(), Some(Driver::FsdevDax));
    drop(host.to(None).unwrap());
    assert_eq!(host.driver(), Some(Driver::FsdevDax));
    host.to(None).unwrap().keep();
    assert_eq!(host.driver(), None);
}

#[test]
fn what_a_mount_borrowed_goes_back_when_it_is_gone() {
    for before in [Some(Driver::DeviceDax), None] {
        let host = Host::new(before.as_ref().map(Driver::name), on_seven());
        let node = host.dir.path().join("dev/dax0.0");
        let mounted = [KernelMount {
            source: node.clone(),
            mountpoint: "/mnt/famfs".into(),
            device: (0, 41),
        }];
        let back = |mounts: &[KernelMount]| {
            let control = Rc::clone(&host.kernel) as Rc<dyn Control>;
            put_back(&host.tree(), control, Path::new("dax0.0"), mounts).unwrap()
        };
        let borrow = || {
            let binding = host.to(Some(&Driver::FsdevDax)).unwrap();
            binding.keep_for_mount().unwrap();
        };
        assert!(!back(&[]));
        borrow();
        // Once more: what is so already was borrowed by the first.
        borrow();
        assert!(!back(&mounted));
        assert_eq!(host.driver(), Some(Driver::FsdevDax));
        assert!(back(&[]));
        assert_eq!(host.driver(), before);
        assert!(!back(&[]));
        // Whoever binds it himself meanwhile keeps it so.
        borrow();
        host.to(None).unwrap().keep();
        assert!(!back(&[]));
        assert_eq!(host.driver(), None);
    }
}

#[test]
fn what_cannot_be_written_down_is_not_borrowed() {
    let host = Host::new(Some("device_dax"), on_seven());
    fs::write(host.dir.path().join("run"), "").unwrap();
    let binding = host.to(Some(&Driver::FsdevDax)).unwrap();
    binding.keep_for_mount().unwrap_err();
    assert_eq!(host.driver(), Some(Driver::DeviceDax));
}

#[test]
fn what_is_so_already_is_left_alone() {
    let host = Host::new(Some("device_dax"), Script::default());
    host.kernel.script.borrow_mut().holders = Some("process 1 (x)".into());
    let binding = host.to(Some(&Driver::DeviceDax)).unwrap();
    assert!(!binding.is_changed());
    drop(binding);
    assert_eq!(host.written(), [""; 0]);
}

#[test]
fn a_driver_that_refuses_leaves_things_as_they_were() {
    for failing in ["fsdev_dax/bind", "fsdev_dax/new_id", "device_dax/unbind"] {
        let host = Host::new(
            Some("device_dax"),
            Script {
                failures: vec![(failing, Errno::INVAL)],
                ..on_seven()
            },
        );
        let error = host.to(Some(&Driver::FsdevDax)).unwrap_err();
        assert!(matches!(error, DaxError::Io { .. }), "{failing}: {error}");
        assert_eq!(host.driver(), Some(Driver::DeviceDax), "{failing}");
    }
    // What nobody drove, nobody drives after it.
    let host = Host::new(
        None,
        Script {
            failures: vec![("fsdev_dax/new_id", Errno::INVAL)],
            ..on_seven()
        },
    );
    host.to(Some(&Driver::FsdevDax)).unwrap_err();
    assert_eq!(host.driver(), None);
}

#[test]
fn a_node_that_does_not_appear_is_a_failure() {
    let host = Host::new(None, on_seven());
    fs::remove_file(host.dir.path().join("dev/dax0.0")).unwrap();
    let error = host.to(Some(&Driver::FsdevDax)).unwrap_err();
    assert!(error.to_string().contains("five seconds"), "{error}");
    assert_eq!(host.driver(), None);
}

#[test]
fn both_errors_are_told_where_putting_back_fails() {
    let host = Host::new(
        Some("device_dax"),
        Script {
            failures: vec![
                ("fsdev_dax/bind", Errno::INVAL),
                ("device_dax/bind", Errno::IO),
            ],
            ..on_seven()
        },
    );
    let error = host.to(Some(&Driver::FsdevDax)).unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, DaxError::NotRestored { .. }), "{told}");
    assert!(
        told.contains("Invalid argument") && told.contains("Input/output"),
        "{told}"
    );
    assert!(told.contains("famfs dax bind dax0.0 device_dax"), "{told}");
}

#[test]
fn a_signal_undoes_what_was_done() {
    let host = Host::new(
        Some("device_dax"),
        Script {
            ends_after: Some(0),
            ..on_seven()
        },
    );
    let error = host.to(Some(&Driver::FsdevDax)).unwrap_err();
    assert!(error.to_string().contains("a signal"), "{error}");
    assert_eq!(host.driver(), Some(Driver::DeviceDax));
}

#[test]
fn a_driver_that_the_kernel_lacks_is_refused_before_anything_is_changed() {
    let host = Host::new(Some("device_dax"), Script::default());
    let error = host.to(Some(&Driver::FsdevDax)).unwrap_err();
    assert!(error.to_string().contains("no module fsdev_dax"), "{error}");
    assert!(error.to_string().contains("from Linux 7.0 on"), "{error}");
    let error = host.to(Some(&Driver::Kmem)).unwrap_err();
    assert!(matches!(error, DaxError::WrongDriver { .. }));
    assert_eq!(host.written(), [""; 0]);
}

#[test]
fn who_uses_it_keeps_it() {
    let host = Host::new(Some("device_dax"), on_seven());
    host.kernel.script.borrow_mut().holders = Some("process 12 (reader)".into());
    let error = host.to(None).unwrap_err();
    assert!(error.to_string().contains("process 12 (reader)"), "{error}");
    let elsewhere = host.dir.path().join("sys/fs/famfs/dax0.0");
    fs::create_dir_all(elsewhere).unwrap();
    let error = host.to(None).unwrap_err();
    assert!(error.to_string().contains("mount namespace"), "{error}");
    let mounts = [KernelMount {
        source: host.dir.path().join("dev/dax0.0"),
        mountpoint: "/mnt/famfs".into(),
        device: (0, 41),
    }];
    let control = Rc::clone(&host.kernel) as Rc<dyn Control>;
    let error = change(host.tree(), control, Path::new("dax0.0"), None, &mounts).unwrap_err();
    assert!(
        error.to_string().contains("famfs umount /mnt/famfs"),
        "{error}"
    );
    assert_eq!(host.written(), [""; 0]);
}

#[test]
fn memory_of_the_system_is_refused_with_the_remedy() {
    let host = Host::new(Some("kmem"), on_seven());
    let device = || host.tree().find(Path::new("dax0.0"), &[]).unwrap();
    assert_eq!(device().system_ram, SystemRam::Offline);
    // The blocks beside it are others'.
    host.memory_block(7, "online");
    host.memory_block(12, "online");
    host.memory_block(8, "offline");
    assert_eq!(device().system_ram, SystemRam::Offline);
    host.memory_block(11, "online");
    assert_eq!(device().system_ram, SystemRam::Online);
    let node = host.dir.path().join("dev/dax0.0");
    // A plain file is none; without a node the name tells.
    fs::remove_file(&node).unwrap();
    for error in [
        host.to(Some(&Driver::DeviceDax)).unwrap_err(),
        host.to(None).unwrap_err(),
        host.tree().check(&node, false).unwrap_err(),
    ] {
        let told = error.to_string();
        assert!(told.contains("daxctl offline-memory dax0.0"), "{told}");
        assert!(told.contains("blacklist kmem"), "{told}");
    }
    assert_eq!(host.written(), [""; 0]);
    // Blocks that could not be taken back stay in use when the driver is gone.
    fs::remove_file(host.dir.path().join("sys/bus/dax/devices/dax0.0/driver")).unwrap();
    assert_eq!(device().system_ram, SystemRam::Online);
}

#[test]
fn where_it_lies_is_not_known_to_every_user() {
    let host = Host::new(Some("kmem"), Script::default());
    let resource = host.dir.path().join("sys/bus/dax/devices/dax0.0/resource");
    for text in ["0x0\n", ""] {
        fs::write(&resource, text).unwrap();
        let device = host.tree().find(Path::new("dax0.0"), &[]).unwrap();
        assert_eq!((device.start, device.system_ram), (None, SystemRam::Online));
    }
}

#[test]
fn what_programs_cannot_map_is_told_to_those_who_would() {
    let node = |host: &Host| host.dir.path().join("dev/dax0.0");
    let host = Host::new(Some("device_dax"), Script::default());
    fs::remove_file(node(&host)).unwrap();
    host.tree().check(&node(&host), true).unwrap();
    let host = Host::new(None, Script::default());
    fs::remove_file(node(&host)).unwrap();
    host.tree().check(&node(&host), false).unwrap();
    let error = host.tree().check(&node(&host), true).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("famfs dax bind dax0.0 device_dax"),
        "{error}"
    );
    // Files are none of its business.
    host.tree().check(Path::new("/etc/passwd"), true).unwrap();
    host.tree().check(Path::new("/no/such/file"), true).unwrap();
}
