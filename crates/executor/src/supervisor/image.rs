//! Command lines in the root file system of an image: the agent's `mesos-containerizer` enters it and becomes the user (spec executor 3.3).

use std::ffi::{CString, NulError};

use checkpoint::protocol::ImageRoot;
use serde_json::json;

/// The arguments, the program first, that run `line` with bash in the image as `user`.
pub(crate) fn command(image: &ImageRoot, user: &str, line: &str) -> Result<Vec<CString>, NulError> {
    let command = json!({"shell": false, "value": "/bin/bash", "arguments": ["/bin/bash", "-c", line]});
    let mut arguments = vec![image.containerizer.clone(), "launch".into(), "--unshare_namespace_mnt".into()];
    if image.takes_launch_info {
        let info = json!({
            "rootfs": image.root,
            "user": user,
            "working_directory": image.sandbox,
            "command": command,
        });
        arguments.push(format!("--launch_info={info}"));
    } else {
        arguments.push(format!("--working_directory={}", image.sandbox));
        arguments.push(format!("--rootfs={}", image.root));
        arguments.push(format!("--user={user}"));
        arguments.push(format!("--command={command}"));
    }
    arguments.into_iter().map(CString::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_containerizer_get_what_they_take() {
        let image = |takes_launch_info| ImageRoot {
            root: "/d/taskfs".into(),
            sandbox: "/mnt/s".into(),
            containerizer: "/c".into(),
            takes_launch_info,
            user: "other".into(),
        };
        let text = |image: &ImageRoot| {
            let arguments = command(image, "u", "echo \"a\"").unwrap();
            arguments.iter().map(|argument| argument.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let inner = r#"{"shell":false,"value":"/bin/bash","arguments":["/bin/bash","-c","echo \"a\""]}"#;
        let info = format!(
            r#"--launch_info={{"rootfs":"/d/taskfs","user":"u","working_directory":"/mnt/s","command":{inner}}}"#
        );
        assert_eq!(text(&image(true)), ["/c", "launch", "--unshare_namespace_mnt", &info]);
        let command = format!("--command={inner}");
        let old = [
            "/c",
            "launch",
            "--unshare_namespace_mnt",
            "--working_directory=/mnt/s",
            "--rootfs=/d/taskfs",
            "--user=u",
            &command,
        ];
        assert_eq!(text(&image(false)), old);
        assert!(super::command(&image(true), "u", "a\0b").is_ok(), "JSON has its own way to write it");
        assert!(super::command(&image(false), "u\0", "a").is_err());
    }
}
