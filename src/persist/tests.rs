use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thing {
    name: String,
}

impl Stored for Thing {
    const KIND: &'static str = "thing";
    const VERSION: u32 = 2;

    fn migrate(version: u32, mut data: Value) -> Result<Value, String> {
        match version {
            1 => {
                data["name"] = data["title"].take();
                Ok(data)
            }
            other => Err(format!("version {other} is no longer read")),
        }
    }
}

fn thing(name: &str) -> Thing {
    Thing { name: name.to_owned() }
}

#[test]
fn what_is_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thing.json");
    assert_eq!(load::<Thing>(&path).unwrap(), None);
    save(&path, &thing("a")).unwrap();
    save(&path, &thing("b")).unwrap();
    assert_eq!(load(&path).unwrap(), Some(thing("b")));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn an_older_version_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thing.json");
    std::fs::write(&path, r#"{"version":1,"kind":"thing","data":{"title":"old"}}"#).unwrap();
    assert_eq!(load(&path).unwrap(), Some(thing("old")));
}

#[test]
fn a_newer_version_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thing.json");
    let newer = r#"{"version":3,"kind":"thing","data":{"shape":"unknown"}}"#;
    std::fs::write(&path, newer).unwrap();
    let error = load::<Thing>(&path).unwrap_err();
    assert!(matches!(error, PersistError::Newer { found: 3, known: 2, .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thing.json");
    for broken in ["", "{", r#"{"version":2,"kind":"other","data":{}}"#, r#"{"version":2,"kind":"thing"}"#] {
        std::fs::write(&path, broken).unwrap();
        let error = load::<Thing>(&path).unwrap_err();
        assert!(matches!(error, PersistError::Damaged { .. }), "{broken:?}: {error}");
    }
}

#[test]
fn a_failed_write_keeps_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thing");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("inside"), "kept").unwrap();
    assert!(matches!(write_atomic(&path, b"new"), Err(PersistError::Io { action: "written", .. })));
    assert_eq!(std::fs::read_to_string(path.join("inside")).unwrap(), "kept");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn the_holder_of_a_lock_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/lock");
    let lock = Lock::try_acquire(&path, "check").unwrap();
    let error = Lock::try_acquire(&path, "submit").unwrap_err();
    let PersistError::Held { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(*holder, format!("process {} (check)", std::process::id()));
    drop(lock);
    Lock::try_acquire(&path, "submit").unwrap();
}

#[tokio::test]
async fn a_lock_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::try_acquire(&path, "first").unwrap();
    let waiting = tokio::spawn({
        let path = path.clone();
        async move { Lock::acquire(&path, "second", Duration::from_secs(30)).await.map(drop) }
    });
    tokio::task::yield_now().await;
    drop(lock);
    waiting.await.unwrap().unwrap();
}

#[test]
fn removing_what_is_not_there_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    remove(&dir.path().join("nothing")).unwrap();
    let folder = dir.path().join("folder");
    create_dir(&folder.join("inner")).unwrap();
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    remove(&folder).unwrap();
    assert!(!folder.exists());
}
