//! Containers, volumes, fetcher URIs of a task (spec thrift-api 2.4). Data only; engines act on it.

use serde::{Deserialize, Serialize};

/// How a volume is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VolumeMode {
    /// Read and write.
    Rw,
    /// Read only.
    Ro,
}

/// A host path made visible inside a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Path inside.
    pub container_path: String,
    /// Path on the host.
    pub host_path: String,
    /// Access.
    pub mode: VolumeMode,
}

/// Image for the unified containerizer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Image {
    /// A Docker image.
    Docker {
        /// Repository.
        name: String,
        /// Tag.
        tag: String,
    },
    /// An AppC image.
    Appc {
        /// Name.
        name: String,
        /// Id.
        image_id: String,
    },
}

/// The two kinds of container, as operators allow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerType {
    /// The engine's own isolation.
    Mesos,
    /// Docker.
    Docker,
}

impl ContainerType {
    /// Upper-case name, as in flags and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesos => "MESOS",
            Self::Docker => "DOCKER",
        }
    }

    /// From its name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mesos, Self::Docker].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// Container of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Container {
    /// The engine's own isolation, optionally with an image.
    Mesos {
        /// Root filesystem.
        image: Option<Image>,
        /// Mounts.
        volumes: Vec<Volume>,
    },
    /// A Docker container.
    Docker {
        /// Image reference.
        image: String,
        /// Command line parameters as name and value.
        parameters: Vec<(String, String)>,
    },
}

impl Container {
    /// Which kind it is.
    pub fn kind(&self) -> ContainerType {
        match self {
            Self::Mesos { .. } => ContainerType::Mesos,
            Self::Docker { .. } => ContainerType::Docker,
        }
    }
}

impl Default for Container {
    fn default() -> Self {
        Self::Mesos { image: None, volumes: Vec::new() }
    }
}

/// A file for the fetcher.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FetcherUri {
    /// Address.
    pub value: String,
    /// Unpack after fetching.
    pub extract: Option<bool>,
    /// Keep in the agent's cache.
    pub cache: Option<bool>,
    /// Name to store it under.
    pub output_file: Option<String>,
}
