use super::*;

fn mount_at(path: &Path) -> Mount {
    Mount::new("/dev/dax0.0".into(), path.to_owned())
}

#[test]
fn paths_are_real_above_the_mount_and_plain_below() {
    let dir = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir_all(top.join("mnt/inner")).unwrap();
    fs::create_dir(top.join("other")).unwrap();
    std::os::unix::fs::symlink(top.join("mnt"), top.join("link")).unwrap();
    let mounts = [
        mount_at(&top.join("mnt")),
        mount_at(&top.join("mnt/inner")),
        mount_at(&top.join("other")),
    ];
    let resolve = |path: &str| {
        let absolute = format!("{}/{path}", top.display());
        let tables = [Arc::from(mounts.clone())];
        let found = resolve_in(&tables, absolute.as_bytes(), Path::new(path))?;
        let at = mounts.iter().position(|m| *m == found.mount).unwrap();
        Ok::<_, Error>((at, String::from_utf8(found.path).unwrap()))
    };
    let cases = [
        ("mnt", 0, ""),
        ("mnt/", 0, ""),
        ("mnt/a/b", 0, "a/b"),
        ("link/a", 0, "a"),
        ("mnt/inner/a", 1, "a"),
        ("link/inner/a", 1, "a"),
        ("other/../mnt//a", 9, ""),
        (".//./link/a", 0, "a"),
        ("mnt/./a", 9, ""),
        ("mnt/../other/a", 9, ""),
        ("mnt/a/../b", 9, ""),
        ("mnt/inner/../../../etc/passwd", 9, ""),
        ("mnt/a/", 9, ""),
    ];
    for (path, mount, inside) in cases {
        match resolve(path) {
            Ok(found) => assert_eq!(found, (mount, inside.to_owned()), "{path}"),
            Err(Error::InvalidPath { .. }) => assert_eq!(mount, 9, "{path}"),
            Err(other) => panic!("{path}: {other}"),
        }
    }
    assert!(matches!(
        resolve("else/where"),
        Err(Error::NotMounted { .. })
    ));
    assert!(matches!(
        resolve(&format!("mnt/{}", "x".repeat(80))),
        Err(Error::InvalidPath { .. })
    ));
}

#[test]
fn of_two_equal_mounts_the_later_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(dir.path()).unwrap();
    let mut later = mount_at(&top);
    later.source = "/dev/dax1.0".into();
    let path = top.join("a");
    let one = Arc::from([mount_at(&top), later.clone()]);
    let two = [mount_at(&top), later.clone()].map(|mount| Arc::from([mount]));
    for tables in [&[one][..], &two] {
        let found = resolve_in(tables, path.as_os_str().as_bytes(), &path).unwrap();
        assert_eq!(found.mount, later);
    }
}
