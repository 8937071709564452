//! Archives by the ends of their names, and unpacking them beneath a directory.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Kinds of archive that are unpacked (spec mesos 3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// `.tar`
    Tar,
    /// `.tgz`, `.tar.gz`
    TarGzip,
    /// `.tbz2`, `.tar.bz2`
    TarBzip2,
    /// `.txz`, `.tar.xz`
    TarXz,
    /// `.zip`
    Zip,
    /// `.gz` of a single file.
    Gzip,
}

/// Longer ends come first: `.tar.gz` is no `.gz`.
const ENDS: [(&str, Archive); 9] = [
    (".tar.gz", Archive::TarGzip),
    (".tgz", Archive::TarGzip),
    (".tar.bz2", Archive::TarBzip2),
    (".tbz2", Archive::TarBzip2),
    (".tar.xz", Archive::TarXz),
    (".txz", Archive::TarXz),
    (".tar", Archive::Tar),
    (".zip", Archive::Zip),
    (".gz", Archive::Gzip),
];

impl Archive {
    /// What a file of this name is; `None` for no archive.
    pub fn of_name(name: &str) -> Option<Self> {
        ENDS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, archive)| *archive)
    }

    /// Unpacks the archive at `path` into `directory`. Entries that lead out of it are an error.
    pub fn unpack(self, path: &Path, directory: &Path) -> io::Result<()> {
        let file = BufReader::new(File::open(path)?);
        match self {
            Self::Tar => untar(file, directory),
            Self::TarGzip => untar(flate2::read::MultiGzDecoder::new(file), directory),
            Self::TarBzip2 => untar(bzip2::read::MultiBzDecoder::new(file), directory),
            Self::TarXz => untar(lzma_rust2::XzReader::new(file, true), directory),
            Self::Zip => {
                let mut archive = zip::ZipArchive::new(file).map_err(io::Error::other)?;
                archive.extract(directory).map_err(io::Error::other)
            }
            Self::Gzip => {
                let mut content = flate2::read::MultiGzDecoder::new(file);
                let name = path.file_stem().map_or_else(|| PathBuf::from("content"), PathBuf::from);
                let target = directory.join(name);
                match fs::remove_file(&target) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                io::copy(&mut content, &mut File::create_new(target)?).map(drop)
            }
        }
    }
}

fn untar(content: impl Read, directory: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(content);
    archive.set_preserve_permissions(true);
    archive.set_overwrite(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        // False for a path that would leave the directory; passing it over silently would hide that files are missing.
        if !entry.unpack_in(directory)? {
            let path = entry.path().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(io::Error::other(format!("'{path}' leads out of the sandbox")));
        }
    }
    Ok(())
}
