//! Fetching from files and from a real HTTP server of a few lines; unpacking every kind of archive.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use super::*;

fn item(value: &str) -> Item {
    Item { value: value.into(), ..Item::default() }
}

fn name(item: &Item) -> Result<String, String> {
    file_name(item).map(|path| path.display().to_string()).map_err(|error| error.to_string())
}

/// A server that answers each path with what `answer` gives: status line and headers, and body. Ends with the test's process.
fn server(answer: impl Fn(&str) -> (String, Vec<u8>) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (head, body) = answer(first.split(' ').nth(1).unwrap_or_default());
            let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&body);
        }
    });
    address
}

#[test]
fn files_are_stored_under_the_name_that_was_asked_for() {
    assert_eq!(name(&item("http://h/a/b.tar.gz")), Ok("b.tar.gz".into()));
    assert_eq!(name(&item("http://h/get?file=x/y")), Ok("get?file=x_y".into()));
    assert_eq!(name(&item("/plain/path")), Ok("path".into()));
    assert_eq!(name(&item("relative")), Ok("relative".into()));
    assert_eq!(name(&item("file:///x/y")), Ok("y".into()));
    let into = |output: &str| Item { output_file: Some(output.into()), ..item("http://h/x") };
    assert_eq!(name(&into("lib/tool")), Ok("lib/tool".into()));
    for bad in ["", "/etc/passwd", "../x", "a/../../x", "a/", "it's", "a\\b", "a\0b"] {
        assert!(name(&into(bad)).is_err(), "{bad:?}");
    }
    for bad in ["http://h/", "http://h", "http://h/it's", "http://h/a\\b", "/x/..", "http://h/?q=1"] {
        assert!(name(&item(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn schemes_are_told_apart() {
    assert_eq!(Source::parse("/a").unwrap(), Source::File("/a".into()));
    assert_eq!(Source::parse("file:///a").unwrap(), Source::File("/a".into()));
    assert_eq!(Source::parse("file://localhost/a").unwrap(), Source::File("/a".into()));
    assert_eq!(Source::parse("HTTPS://h/a").unwrap(), Source::Http("HTTPS://h/a".into()));
    assert_eq!(Source::parse("hdfs://n/a").unwrap(), Source::Hadoop("hdfs://n/a".into()));
    assert!(Source::parse("ftp://h/a").unwrap_err().to_string().contains("over HTTP"));
    assert!(Source::parse("file://relative").is_err());
    assert!(Source::parse("").is_err());
}

#[test]
fn a_file_is_copied_and_made_executable_instead_of_unpacked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("tool.tar");
    fs::write(&source, "no archive at all").unwrap();
    let sandbox = folder.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    let wanted = Item { executable: true, ..item(source.to_str().unwrap()) };
    let stored = fetch(&wanted, &sandbox).unwrap();
    assert_eq!(fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o755);
    let error = fetch(&item(source.to_str().unwrap()), &sandbox).unwrap_err();
    assert!(matches!(error, FetchError::Archive(..)), "{error}");
    let kept = Item { extract: Some(false), ..item(source.to_str().unwrap()) };
    assert!(fetch(&kept, &sandbox).is_ok());
    assert!(fetch(&item("/nonexistent/file"), &sandbox).unwrap_err().to_string().contains("/nonexistent/file"));
    assert!(
        fetch(&item(folder.path().to_str().unwrap()), &sandbox).unwrap_err().to_string().contains("no regular file")
    );
}

fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o750);
    builder.append_data(&mut header, "app/run.sh", &b"hello"[..]).unwrap();
    builder.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_kind_of_archive_is_unpacked_beside_itself() {
    use std::os::unix::fs::PermissionsExt;
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar()).unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    xz.write_all(&tar()).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("app/run.sh", zip::write::SimpleFileOptions::default().unix_permissions(0o750)).unwrap();
    zip.write_all(b"hello").unwrap();
    let archives = [
        ("a.tar", tar()),
        ("a.tar.gz", gzip(&tar())),
        ("a.tgz", gzip(&tar())),
        ("a.tar.bz2", bzip2.finish().unwrap()),
        ("a.txz", xz.finish().unwrap()),
        ("a.zip", zip.finish().unwrap().into_inner()),
    ];
    for (name, content) in archives {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join(name);
        fs::write(&source, content).unwrap();
        let sandbox = folder.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        fetch(&item(source.to_str().unwrap()), &sandbox).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(fs::read(sandbox.join("app/run.sh")).unwrap(), b"hello", "{name}");
        assert_eq!(fs::metadata(sandbox.join("app/run.sh")).unwrap().permissions().mode() & 0o777, 0o750, "{name}");
        assert!(sandbox.join(name).exists(), "{name}: without a cache the archive stays");
        fs::remove_dir_all(&sandbox).unwrap();
        fs::create_dir(&sandbox).unwrap();
        fetch(&Item { cache: true, ..item(source.to_str().unwrap()) }, &sandbox).unwrap();
        assert!(
            !sandbox.join(name).exists() && sandbox.join("app/run.sh").exists(),
            "{name}: with one only the content"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("data.csv.gz");
    fs::write(&source, gzip(b"1,2")).unwrap();
    let sandbox = folder.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    fetch(&item(source.to_str().unwrap()), &sandbox).unwrap();
    assert_eq!(fs::read(sandbox.join("data.csv")).unwrap(), b"1,2");
}

#[test]
fn an_archive_cannot_write_outside_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("evil.tar");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../escape");
    header.set_cksum();
    builder.append(&header, &b"x"[..]).unwrap();
    fs::write(&source, builder.into_inner().unwrap()).unwrap();
    let sandbox = folder.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    let error = fetch(&item(source.to_str().unwrap()), &sandbox).unwrap_err().to_string();
    assert!(error.contains("leads out of the sandbox"), "{error}");
    assert!(!folder.path().join("escape").exists());
}

#[test]
fn http_must_answer_200_whole_and_may_redirect() {
    let address = server(|path| match path {
        "/good.txt" => ("200 OK\r\nContent-Length: 5".into(), b"hello".to_vec()),
        "/moved" => ("302 Found\r\nLocation: /good.txt\r\nContent-Length: 0".into(), Vec::new()),
        "/short" => ("200 OK\r\nContent-Length: 9".into(), b"hello".to_vec()),
        "/empty" => ("204 No Content".into(), Vec::new()),
        _ => ("404 Not Found\r\nContent-Length: 0".into(), Vec::new()),
    });
    let folder = tempfile::tempdir().unwrap();
    let get = |path: &str| fetch(&item(&format!("{address}{path}")), folder.path());
    assert_eq!(fs::read(get("/good.txt").unwrap()).unwrap(), b"hello");
    assert_eq!(fs::read(get("/moved").unwrap()).unwrap(), b"hello");
    for (path, part) in [("/none", "404"), ("/empty", "204"), ("/short", "fetching")] {
        let error = get(path).unwrap_err().to_string();
        assert!(error.contains(part), "{path}: {error}");
    }
    assert!(fetch(&item("http://127.0.0.1:1/x"), folder.path()).is_err());
}

#[test]
fn a_link_left_in_the_sandbox_is_replaced_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "keep").unwrap();
    let source = folder.path().join("file");
    fs::write(&source, "new").unwrap();
    let sandbox = folder.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    std::os::unix::fs::symlink(&secret, sandbox.join("file")).unwrap();
    fetch(&item(source.to_str().unwrap()), &sandbox).unwrap();
    assert_eq!(
        (fs::read(&secret).unwrap(), fs::read(sandbox.join("file")).unwrap()),
        (b"keep".to_vec(), b"new".to_vec())
    );
}
