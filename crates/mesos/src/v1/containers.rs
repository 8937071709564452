//! Containers, images, volumes, networks, limits (spec mesos 2.6).

use super::identity::{ContainerId, Credential};
use super::tasks::{Labels, Parameter, Parameters, Secret};

messages! {
    /// What to put a task or an executor into. The member must match `type`; a Mesos container without an image may leave `mesos` unset.
    pub struct ContainerInfo {
        1 r#type: [enumeration(container_info::Type), required] i32,
        2 volumes: [message, repeated] Vec<Volume>,
        3 docker: [message, optional] Option<container_info::DockerInfo>,
        4 hostname: [string, optional] Option<String>,
        5 mesos: [message, optional] Option<container_info::MesosInfo>,
        7 network_infos: [message, repeated] Vec<NetworkInfo>,
        8 linux_info: [message, optional] Option<LinuxInfo>,
        9 rlimit_info: [message, optional] Option<RLimitInfo>,
        10 tty_info: [message, optional] Option<TtyInfo>,
    }

    /// An image.
    pub struct Image {
        1 r#type: [enumeration(image::Type), required] i32,
        2 appc: [message, optional] Option<image::Appc>,
        3 docker: [message, optional] Option<image::Docker>,
        4 cached: [bool, optional, default = "true"] Option<bool>,
    }

    /// Something mounted into a container; at most one of `host_path`, `image`, `source`.
    pub struct Volume {
        1 container_path: [string, required] String,
        2 host_path: [string, optional] Option<String>,
        3 mode: [enumeration(volume::Mode), required] i32,
        4 image: [message, optional] Option<Image>,
        5 source: [message, optional] Option<volume::Source>,
    }

    /// How mounts travel between host and container.
    #[derive(Copy)]
    pub struct MountPropagation { 1 mode: [enumeration(mount_propagation::Mode), optional] Option<i32> }

    /// A network a container is in.
    pub struct NetworkInfo {
        3 groups: [string, repeated] Vec<String>,
        4 labels: [message, optional] Option<Labels>,
        5 ip_addresses: [message, repeated] Vec<network_info::IpAddress>,
        6 name: [string, optional] Option<String>,
        7 port_mappings: [message, repeated] Vec<network_info::PortMapping>,
    }

    /// Linux settings of a container.
    pub struct LinuxInfo {
        1 capability_info: [message, optional] Option<CapabilityInfo>,
        2 bounding_capabilities: [message, optional] Option<CapabilityInfo>,
        3 effective_capabilities: [message, optional] Option<CapabilityInfo>,
        4 share_pid_namespace: [bool, optional] Option<bool>,
        5 seccomp: [message, optional] Option<SeccompInfo>,
        6 ipc_mode: [enumeration(linux_info::IpcMode), optional] Option<i32>,
        7 shm_size: [uint32, optional] Option<u32>,
        8 share_cgroups: [bool, optional, default = "true"] Option<bool>,
    }

    /// A filter of system calls.
    pub struct SeccompInfo {
        1 profile_name: [string, optional] Option<String>,
        2 unconfined: [bool, optional] Option<bool>,
    }

    /// Linux capabilities, each as the kernel's number plus 1000.
    pub struct CapabilityInfo {
        1 capabilities: [enumeration(capability_info::Capability), repeated, packed = "false"] Vec<i32>,
    }

    /// Limits of processes.
    pub struct RLimitInfo { 1 rlimits: [message, repeated] Vec<r_limit_info::RLimit> }

    /// A terminal.
    #[derive(Copy)]
    pub struct TtyInfo { 1 window_size: [message, optional] Option<tty_info::WindowSize> }

    /// What an agent knows of a running container.
    pub struct ContainerStatus {
        1 network_infos: [message, repeated] Vec<NetworkInfo>,
        2 cgroup_info: [message, optional] Option<CgroupInfo>,
        3 executor_pid: [uint32, optional] Option<u32>,
        4 container_id: [message, optional] Option<ContainerId>,
    }

    /// Its control group.
    #[derive(Copy)]
    pub struct CgroupInfo { 1 net_cls: [message, optional] Option<cgroup_info::NetCls> }
}

/// Inside [`ContainerInfo`].
pub mod container_info {
    use super::{Image, Parameter};

    enumerations! {
        /// Who makes the container.
        pub enum Type {
            Docker = 1 "DOCKER",
            Mesos = 2 "MESOS",
        }
    }

    messages! {
        /// For Docker. `parameters` become options of `docker run`; `name` may not be among them.
        pub struct DockerInfo {
            1 image: [string, required] String,
            2 network: [enumeration(docker_info::Network), optional, default = "Host"] Option<i32>,
            3 port_mappings: [message, repeated] Vec<docker_info::PortMapping>,
            4 privileged: [bool, optional, default = "false"] Option<bool>,
            5 parameters: [message, repeated] Vec<Parameter>,
            6 force_pull_image: [bool, optional] Option<bool>,
            7 volume_driver: [string, optional] Option<String>,
        }

        /// For the Mesos containerizer.
        pub struct MesosInfo { 1 image: [message, optional] Option<Image> }
    }

    /// Inside [`DockerInfo`].
    pub mod docker_info {
        enumerations! {
            /// Kinds of networks.
            pub enum Network {
                Host = 1 "HOST",
                Bridge = 2 "BRIDGE",
                None = 3 "NONE",
                User = 4 "USER",
            }
        }

        messages! {
            /// A port of the host that leads into the container.
            pub struct PortMapping {
                1 host_port: [uint32, required] u32,
                2 container_port: [uint32, required] u32,
                3 protocol: [string, optional] Option<String>,
            }
        }
    }
}

/// Inside [`Image`].
pub mod image {
    use super::{Credential, Labels, Secret};

    enumerations! {
        /// Kinds of images.
        pub enum Type {
            Appc = 1 "APPC",
            Docker = 2 "DOCKER",
        }
    }

    messages! {
        /// An appc image.
        pub struct Appc {
            1 name: [string, required] String,
            2 id: [string, optional] Option<String>,
            3 labels: [message, optional] Option<Labels>,
        }

        /// A Docker image.
        pub struct Docker {
            1 name: [string, required] String,
            2 credential: [message, optional] Option<Credential>,
            3 config: [message, optional] Option<Secret>,
        }
    }
}

/// Inside [`Volume`].
pub mod volume {
    enumerations! {
        /// Whether a container may write.
        pub enum Mode {
            Rw = 1 "RW",
            Ro = 2 "RO",
        }
    }

    messages! {
        /// What is mounted.
        pub struct Source {
            1 r#type: [enumeration(source::Type), optional] Option<i32>,
            2 docker_volume: [message, optional] Option<source::DockerVolume>,
            3 sandbox_path: [message, optional] Option<source::SandboxPath>,
            4 secret: [message, optional] Option<super::Secret>,
            5 host_path: [message, optional] Option<source::HostPath>,
        }
    }

    /// Inside [`Source`]. Volumes of storage plugins (field 6) are not described.
    pub mod source {
        use super::super::{MountPropagation, Parameters};

        enumerations! {
            /// Kinds of sources.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                DockerVolume = 1 "DOCKER_VOLUME",
                SandboxPath = 2 "SANDBOX_PATH",
                Secret = 3 "SECRET",
                HostPath = 4 "HOST_PATH",
                CsiVolume = 5 "CSI_VOLUME",
            }
        }

        messages! {
            /// A volume of a Docker driver.
            pub struct DockerVolume {
                1 driver: [string, optional] Option<String>,
                2 name: [string, required] String,
                3 driver_options: [message, optional] Option<Parameters>,
            }

            /// A directory of the host.
            pub struct HostPath {
                1 path: [string, required] String,
                2 mount_propagation: [message, optional] Option<MountPropagation>,
            }

            /// A directory of a sandbox.
            pub struct SandboxPath {
                1 r#type: [enumeration(sandbox_path::Type), optional] Option<i32>,
                2 path: [string, required] String,
            }
        }

        /// Inside [`SandboxPath`].
        pub mod sandbox_path {
            enumerations! {
                /// Whose sandbox.
                pub enum Type {
                    Unknown = 0 "UNKNOWN",
                    Own = 1 "SELF",
                    Parent = 2 "PARENT",
                }
            }
        }
    }
}

/// Inside [`MountPropagation`].
pub mod mount_propagation {
    enumerations! {
        /// Directions.
        pub enum Mode {
            Unknown = 0 "UNKNOWN",
            HostToContainer = 1 "HOST_TO_CONTAINER",
            Bidirectional = 2 "BIDIRECTIONAL",
        }
    }
}

/// Inside [`NetworkInfo`].
pub mod network_info {
    enumerations! {
        /// Versions of IP.
        pub enum Protocol {
            IPv4 = 1 "IPv4",
            IPv6 = 2 "IPv6",
        }
    }

    messages! {
        /// An address.
        pub struct IpAddress {
            1 protocol: [enumeration(Protocol), optional, default = "IPv4"] Option<i32>,
            2 ip_address: [string, optional] Option<String>,
        }

        /// A port of the host that leads into the container.
        pub struct PortMapping {
            1 host_port: [uint32, required] u32,
            2 container_port: [uint32, required] u32,
            3 protocol: [string, optional] Option<String>,
        }
    }
}

/// Inside [`LinuxInfo`].
pub mod linux_info {
    enumerations! {
        /// Whose shared memory.
        pub enum IpcMode {
            Unknown = 0 "UNKNOWN",
            Private = 1 "PRIVATE",
            ShareParent = 2 "SHARE_PARENT",
        }
    }
}

/// Inside [`CapabilityInfo`].
pub mod capability_info {
    enumerations! {
        /// The capabilities the tables name; the others survive as numbers.
        pub enum Capability {
            Unknown = 0 "UNKNOWN",
            Chown = 1000 "CHOWN",
            Kill = 1005 "KILL",
            NetBindService = 1010 "NET_BIND_SERVICE",
            NetAdmin = 1012 "NET_ADMIN",
            NetRaw = 1013 "NET_RAW",
            SysPtrace = 1019 "SYS_PTRACE",
            SysAdmin = 1021 "SYS_ADMIN",
            SysResource = 1024 "SYS_RESOURCE",
            AuditRead = 1037 "AUDIT_READ",
            Perfmon = 1038 "PERFMON",
            Bpf = 1039 "BPF",
            CheckpointRestore = 1040 "CHECKPOINT_RESTORE",
        }
    }
}

/// Inside [`RLimitInfo`].
pub mod r_limit_info {
    messages! {
        /// A limit; neither `hard` nor `soft` means none.
        #[derive(Copy)]
        pub struct RLimit {
            1 r#type: [enumeration(r_limit::Type), optional] Option<i32>,
            2 hard: [uint64, optional] Option<u64>,
            3 soft: [uint64, optional] Option<u64>,
        }
    }

    /// Inside [`RLimit`].
    pub mod r_limit {
        enumerations! {
            /// What is limited.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                As = 1 "RLMT_AS",
                Core = 2 "RLMT_CORE",
                Cpu = 3 "RLMT_CPU",
                Data = 4 "RLMT_DATA",
                Fsize = 5 "RLMT_FSIZE",
                Locks = 6 "RLMT_LOCKS",
                Memlock = 7 "RLMT_MEMLOCK",
                Msgqueue = 8 "RLMT_MSGQUEUE",
                Nice = 9 "RLMT_NICE",
                Nofile = 10 "RLMT_NOFILE",
                Nproc = 11 "RLMT_NPROC",
                Rss = 12 "RLMT_RSS",
                Rtprio = 13 "RLMT_RTPRIO",
                Rttime = 14 "RLMT_RTTIME",
                Sigpending = 15 "RLMT_SIGPENDING",
                Stack = 16 "RLMT_STACK",
            }
        }
    }
}

/// Inside [`TtyInfo`].
pub mod tty_info {
    messages! {
        /// In characters.
        #[derive(Copy)]
        pub struct WindowSize {
            1 rows: [uint32, required] u32,
            2 columns: [uint32, required] u32,
        }
    }
}

/// Inside [`CgroupInfo`].
pub mod cgroup_info {
    messages! {
        /// Its network class.
        #[derive(Copy)]
        pub struct NetCls { 1 classid: [uint32, optional] Option<u32> }
    }
}
