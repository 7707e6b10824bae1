//! Building the module from the sources that travel with the program.
//!
//! Owns what is looked at before the build begins, so that what is missing is named with the
//! package that has it, and where the module is put. DKMS does both by itself, from a tree of
//! sources that is written for it.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{KmodError, NAME, VERSION, headers_of, modules_of, root, sources, status_of};
use crate::tool;

/// What of a build's output an error shows.
const LAST_LINES: usize = 15;

/// What is to be built, and for which kernel.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The kernel; by default that of the headers, or the running one.
    pub release: Option<String>,
    /// Its headers; by default those that belong to it.
    pub headers: Option<PathBuf>,
    /// Where it goes.
    pub target: Target,
}

/// Where the module goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Where modprobe finds it.
    #[default]
    System,
    /// Into this folder.
    Folder(PathBuf),
    /// To DKMS, which builds it again for each new kernel.
    Dkms,
    /// The sources as DKMS takes them, into this folder; nothing is built.
    DkmsTree(PathBuf),
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The module, or the tree of sources.
    pub path: PathBuf,
    /// The kernel that it is for.
    pub release: String,
    /// Whether it is where modprobe finds it.
    pub installed: bool,
}

/// Builds the module. `said` is called with each line that the build prints.
///
/// # Errors
/// [`KmodError::NoHeaders`] and [`KmodError::NoTool`] name what is missing, and
/// [`KmodError::NotRoot`] who may, before anything is done; [`KmodError::Failed`] has the last lines
/// of what the build printed.
pub fn build(request: &Request, said: &mut dyn FnMut(&str)) -> Result<Built, KmodError> {
    let release = release_of(request)?;
    if let Target::DkmsTree(folder) = &request.target {
        return Ok(Built {
            path: write_tree(folder)?,
            release,
            installed: false,
        });
    }
    if matches!(request.target, Target::System | Target::Dkms) {
        root(
            "installing a module",
            "run it as root, or name a folder with --output",
        )?;
    }
    let headers = request.headers.clone();
    let headers = headers.unwrap_or_else(|| headers_of(&release));
    if !has_headers(&headers) {
        return Err(KmodError::NoHeaders {
            release,
            place: headers,
        });
    }
    need("make", "the kernel's headers build with it", "make")?;
    if request.target == Target::Dkms {
        let path = with_dkms(&release, request.headers.as_deref(), said)?;
        return Ok(Built {
            path,
            release,
            installed: true,
        });
    }
    let compiler = compiler(&headers)?;
    let folder = tempfile::Builder::new()
        .prefix("famfs-kmod-")
        .tempdir()
        .map_err(KmodError::io(&env::temp_dir(), "make a folder in"))?;
    sources::write(folder.path()).map_err(KmodError::io(folder.path(), "write the sources"))?;
    let mut make = Command::new("make");
    make.arg("-C").arg(&headers);
    make.arg(format!("M={}", folder.path().display()));
    make.args(compiler.map(|compiler| format!("CC={compiler}")));
    make.arg("modules");
    run(&mut make, said, || {
        "the sources are for Linux 6.1 and newer, but for 6.5 to 6.8; please report what else \
         does not build"
            .into()
    })?;
    let module = folder.path().join("famfs.ko");
    let place = match &request.target {
        Target::Folder(folder) => folder.clone(),
        _ => modules_of(&release).join("updates"),
    };
    let path = put(&module, &place)?;
    let installed = request.target == Target::System;
    if installed {
        need("depmod", "modprobe finds modules by what it writes", "kmod")?;
        let mut depmod = Command::new(tool::find("depmod").unwrap_or_default());
        run(depmod.arg(&release), said, String::new)?;
    }
    Ok(Built {
        path,
        release,
        installed,
    })
}

fn release_of(request: &Request) -> Result<String, KmodError> {
    if let Some(release) = &request.release {
        // It becomes a part of paths.
        let is_one = !release.is_empty()
            && !release.starts_with('.')
            && !release.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        return is_one.then(|| release.clone()).ok_or_else(|| {
            KmodError::Usage(format!(
                "{release:?} is no kernel's release; `uname -r` prints the running one's"
            ))
        });
    }
    let of_headers = request.headers.as_ref().and_then(|headers| {
        let text = fs::read_to_string(headers.join("include/config/kernel.release")).ok()?;
        Some(text.trim().to_owned())
    });
    Ok(of_headers.unwrap_or_else(super::release))
}

/// Whether modules can be built against what is there: sources alone lack what a build made.
pub(super) fn has_headers(place: &Path) -> bool {
    place.join("Makefile").is_file() && place.join("include/config/auto.conf").is_file()
}

fn need(tool: &str, needs: &'static str, package: &str) -> Result<(), KmodError> {
    if tool::find(tool).is_some() {
        return Ok(());
    }
    Err(KmodError::NoTool {
        tool: tool.to_owned(),
        needs,
        package: package.to_owned(),
    })
}

/// The compiler that make has to be told of; `None` where it finds the right one by itself.
fn compiler(headers: &Path) -> Result<Option<String>, KmodError> {
    if let Ok(chosen) = env::var("CC")
        && !chosen.trim().is_empty()
    {
        return Ok(Some(chosen));
    }
    let settings = fs::read_to_string(headers.join("include/config/auto.conf")).unwrap_or_default();
    let kernels_own = compiler_in(&settings).unwrap_or("gcc");
    if tool::find(kernels_own).is_some() {
        return Ok(None);
    }
    // Another version of the same compiler does as well: the kernel's build warns of it.
    let plain = if kernels_own.contains("clang") {
        "clang"
    } else {
        "gcc"
    };
    if tool::find(plain).is_some() {
        return Ok(Some(plain.to_owned()));
    }
    Err(KmodError::NoTool {
        tool: kernels_own.to_owned(),
        needs: "the kernel was compiled with it",
        package: package_of(kernels_own).to_owned(),
    })
}

/// The program that a kernel was compiled with, as its settings have it.
fn compiler_in(settings: &str) -> Option<&str> {
    let line = settings
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT="))?;
    line.trim_matches('"').split(' ').next()
}

/// Debian's packages of compilers have their names, without what they compile for.
fn package_of(compiler: &str) -> &str {
    ["gcc", "clang"]
        .iter()
        .find_map(|name| compiler.find(name).map(|at| &compiler[at..]))
        .unwrap_or(compiler)
}

/// Runs a command and passes on what it prints, line by line.
fn run(
    command: &mut Command,
    said: &mut dyn FnMut(&str),
    next: impl FnOnce() -> String,
) -> Result<(), KmodError> {
    let program = PathBuf::from(command.get_program());
    let (reader, writer) = io::pipe().map_err(KmodError::io(&program, "run"))?;
    let both = writer.try_clone().map_err(KmodError::io(&program, "run"))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(both);
    command.env("LC_ALL", "C");
    // What this program was itself built or started by says nothing to this build.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KBUILD_OUTPUT"] {
        command.env_remove(name);
    }
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut child = command.spawn().map_err(KmodError::io(&program, "run"))?;
    // Our own copies of the pipe's end, which would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut printed = Vec::new();
    let mut reader = BufReader::new(reader);
    loop {
        let from = printed.len();
        match reader.read_until(b'\n', &mut printed) {
            Ok(0) | Err(_) => break,
            Ok(_) => said(String::from_utf8_lossy(&printed[from..]).trim_end()),
        }
    }
    let status = child.wait().map_err(KmodError::io(&program, "wait for"))?;
    if status.success() {
        return Ok(());
    }
    Err(KmodError::Failed {
        command: words.join(" "),
        status: status_of(status),
        last: tool::last_lines(&printed, LAST_LINES),
        next: next(),
    })
}

/// Puts the module into a folder, whole or not at all.
fn put(made: &Path, folder: &Path) -> Result<PathBuf, KmodError> {
    fs::create_dir_all(folder).map_err(KmodError::io(folder, "make the folder"))?;
    let path = folder.join(format!("{NAME}.ko"));
    let place = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".famfs-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        io::copy(&mut fs::File::open(made)?, &mut file)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    place().map_err(KmodError::io(&path, "write"))?;
    Ok(path)
}

/// Writes the sources as DKMS takes them: a folder with the version in its name.
fn write_tree(folder: &Path) -> Result<PathBuf, KmodError> {
    let tree = folder.join(format!("{NAME}-{VERSION}"));
    fs::create_dir_all(&tree).map_err(KmodError::io(&tree, "make the folder"))?;
    sources::write(&tree).map_err(KmodError::io(&tree, "write the sources"))?;
    Ok(tree)
}

fn with_dkms(
    release: &str,
    headers: Option<&Path>,
    said: &mut dyn FnMut(&str),
) -> Result<PathBuf, KmodError> {
    need("dkms", "it is to build the module for each kernel", "dkms")?;
    let tree = write_tree(Path::new("/usr/src"))?;
    let dkms = |verb: &str| {
        let mut command = Command::new(tool::find("dkms").unwrap_or_default());
        command.args([verb, "-m", NAME, "-v", VERSION]);
        command
    };
    let known = dkms("status").output();
    let known = known.is_ok_and(|output| !tool::last_lines(&output.stdout, 1).is_empty());
    let log = || {
        format!(
            "DKMS keeps what the compiler said in /var/lib/dkms/{NAME}/{VERSION}/build/make.log"
        )
    };
    if !known {
        run(&mut dkms("add"), said, log)?;
    }
    for verb in ["build", "install"] {
        let mut command = dkms(verb);
        command.args(["-k", release, "--force"]);
        if let Some(headers) = headers {
            command.arg("--kernelsourcedir").arg(headers);
        }
        run(&mut command, said, log)?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(release: Option<&str>, headers: Option<&Path>, target: Target) -> Request {
        Request {
            release: release.map(str::to_owned),
            headers: headers.map(Path::to_owned),
            target,
        }
    }

    #[test]
    fn missing_headers_are_named_with_their_package() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::Folder(dir.path().join("out"));
        let request = request(Some("6.99.0-x"), None, target);
        let error = build(&request, &mut |_| ()).unwrap_err();
        assert!(matches!(error, KmodError::NoHeaders { .. }));
        assert!(error.to_string().contains("linux-headers-6.99.0-x"));
        assert!(!dir.path().join("out").exists());
    }

    #[test]
    fn the_release_is_that_of_the_headers() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("include/config");
        fs::create_dir_all(&config).unwrap();
        assert!(!has_headers(dir.path()));
        fs::write(config.join("kernel.release"), "6.1.0-x\n").unwrap();
        fs::write(config.join("auto.conf"), "").unwrap();
        fs::write(dir.path().join("Makefile"), "modules:\n\tfalse\n").unwrap();
        assert!(has_headers(dir.path()));
        let mut asked = request(None, Some(dir.path()), Target::Folder(dir.path().into()));
        assert_eq!(release_of(&asked).unwrap(), "6.1.0-x");
        asked.release = Some("6.2".into());
        assert_eq!(release_of(&asked).unwrap(), "6.2");
        for wrong in ["", "../x", "a b", ".."] {
            asked.release = Some(wrong.into());
            assert!(
                matches!(release_of(&asked), Err(KmodError::Usage(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_a_build_says_last_is_told() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = run(
            &mut command,
            &mut |line| lines.push(line.to_owned()),
            || "next".into(),
        );
        assert_eq!(lines, ["one", "two"]);
        let told = error.unwrap_err().to_string();
        assert!(
            told.contains("exits with 3") && told.ends_with("one\ntwo\nnext"),
            "{told}"
        );
    }

    #[test]
    fn a_tree_for_dkms_is_the_sources() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::DkmsTree(dir.path().to_owned());
        let built = build(&request(None, None, target), &mut |_| ()).unwrap();
        assert_eq!(built.path, dir.path().join(format!("famfs-{VERSION}")));
        assert_eq!(
            fs::read_dir(&built.path).unwrap().count(),
            sources::SOURCES.len()
        );
    }

    #[test]
    fn the_kernels_compiler_and_its_package() {
        let quoted = "CONFIG_A=y\nCONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0) 12.2.0\"\n";
        assert_eq!(compiler_in(quoted), Some("gcc-12"));
        let bare = "CONFIG_CC_VERSION_TEXT=x86_64-linux-gnu-gcc-14 (Debian 14) 14\n";
        assert_eq!(compiler_in(bare), Some("x86_64-linux-gnu-gcc-14"));
        assert_eq!(package_of("x86_64-linux-gnu-gcc-14"), "gcc-14");
        assert_eq!(package_of("clang-19"), "clang-19");
        assert_eq!(compiler_in("CONFIG_A=y\n"), None);
    }
}
