//! What a master refuses: framework descriptions, roles, ids, tasks (spec mesos 1.5, 3.2, 3.4).

use std::collections::BTreeSet;

use mesos::v1::framework_info::capability::Type as Capability;
use mesos::v1::{ContainerInfo, ExecutorInfo, FrameworkInfo, HealthCheck, TaskInfo, executor_info, health_check};

use super::super::settings::Settings;

/// Seconds that fit 63 bits of nanoseconds.
const DURATION_MAX_S: f64 = 9_223_372_036.0;

/// An id that may become a file name.
pub(in super::super) fn id(what: &str, id: &str) -> Result<(), String> {
    let bad = id.is_empty()
        || id.len() > 255
        || id == "."
        || id == ".."
        || id.contains(|letter: char| letter.is_control() || letter == '/' || letter == '\\');
    if bad { Err(format!("{what} '{id}' is not a valid id")) } else { Ok(()) }
}

/// The name of a role.
pub(super) fn role(role: &str) -> Result<(), String> {
    if role == "*" {
        return Ok(());
    }
    let bad = |part: &str| {
        part.is_empty()
            || [".", "..", "*"].contains(&part)
            || part.starts_with('-')
            || part.contains(|letter: char| letter.is_whitespace() || letter == '\u{8}')
    };
    if role.split('/').any(bad) { Err(format!("invalid role '{role}'")) } else { Ok(()) }
}

/// What a framework says of itself; the error becomes an ERROR event or a 400.
pub(super) fn framework(info: &FrameworkInfo, suppressed: &[String], settings: &Settings) -> Result<(), String> {
    let multi = info.capabilities.iter().any(|capability| capability.r#type == Some(Capability::MultiRole as i32));
    if multi && info.role.is_some() {
        return Err("a MULTI_ROLE framework sets roles, not role".into());
    }
    if !multi && !info.roles.is_empty() {
        return Err("roles needs the capability MULTI_ROLE".into());
    }
    let roles = super::framework::roles_of(info);
    let distinct: BTreeSet<&str> = roles.iter().map(AsRef::as_ref).collect();
    if distinct.len() != roles.len() {
        return Err("roles has duplicates".into());
    }
    for name in &distinct {
        role(name)?;
        if settings.roles.as_ref().is_some_and(|listed| *name != "*" && !listed.iter().any(|known| known == name)) {
            return Err(format!("role '{name}' is not present in the master's --roles"));
        }
    }
    if info.user == "root" && !settings.root_submissions {
        return Err("User 'root' is not allowed to run frameworks without --root_submissions set".into());
    }
    let given = super::framework_id(info);
    if !given.is_empty() {
        id("framework id", given)?;
    }
    let timeout = info.failover_timeout.unwrap_or_default();
    if !timeout.is_finite() || timeout.abs() > DURATION_MAX_S {
        return Err(format!("failover_timeout {timeout} is not a duration"));
    }
    for filters in info.offer_filters.values() {
        let sets = filters.min_allocatable_resources.iter().flat_map(|minimum| &minimum.quantities);
        if sets.flat_map(|set| set.quantities.values()).any(|scalar| !(scalar.value.is_finite() && scalar.value >= 0.0))
        {
            return Err("offer_filters hold an invalid quantity".into());
        }
    }
    if let Some(unknown) = suppressed.iter().find(|role| !distinct.contains(role.as_str())) {
        return Err(format!("suppressed role '{unknown}' is not among the framework's roles"));
    }
    Ok(())
}

/// A task's own form; what it needs is looked at elsewhere.
pub(super) fn task(task: &TaskInfo, framework: &str, agent: &str, in_group: bool) -> Result<(), String> {
    id("task id", &task.task_id.value)?;
    if task.agent_id.value != agent {
        return Err(format!("task is for agent {}, the offer is of {agent}", task.agent_id.value));
    }
    let negative = |time: Option<&mesos::v1::DurationInfo>| time.is_some_and(|time| time.nanoseconds < 0);
    let grace = task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    if negative(grace) || negative(task.max_completion_time.as_ref()) {
        return Err("a time of the task is negative".into());
    }
    match (&task.executor, &task.command) {
        (Some(executor), None) if !in_group => self::executor(executor, framework, false)?,
        (None, Some(_)) if !in_group => {}
        _ if in_group => {}
        _ => return Err("Task must have one of command or executor, not both".into()),
    }
    if let Some(check) = &task.health_check {
        health(check)?;
    }
    let commands = [task.command.as_ref(), task.executor.as_ref().and_then(|executor| executor.command.as_ref())];
    for command in commands.into_iter().flatten() {
        self::command(command)?;
    }
    let containers = [task.container.as_ref(), task.executor.as_ref().and_then(|executor| executor.container.as_ref())];
    for container in containers.into_iter().flatten() {
        self::container(container, in_group && task.executor.is_none())?;
    }
    Ok(())
}

/// An executor's own form.
pub(super) fn executor(executor: &ExecutorInfo, framework: &str, in_group: bool) -> Result<(), String> {
    id("executor id", &executor.executor_id.value)?;
    if executor.shutdown_grace_period.as_ref().is_some_and(|time| time.nanoseconds < 0) {
        return Err("shutdown_grace_period is negative".into());
    }
    let owner = executor.framework_id.as_ref().map(|id| id.value.as_str());
    if owner.is_some_and(|owner| owner != framework) || (in_group && owner.is_none()) {
        return Err("ExecutorInfo has an invalid framework_id".into());
    }
    let kind = executor.r#type.unwrap_or_default();
    if !in_group && kind == executor_info::Type::Default as i32 {
        return Err("a DEFAULT executor takes task groups only".into());
    }
    if kind != executor_info::Type::Default as i32 && executor.command.is_none() {
        return Err("a CUSTOM executor needs a command".into());
    }
    Ok(())
}

fn health(check: &HealthCheck) -> Result<(), String> {
    let kinds = [check.command.is_some(), check.http.is_some(), check.tcp.is_some()];
    let kind = match (check.r#type, kinds) {
        (Some(kind), _) => health_check::Type::try_from(kind).unwrap_or(health_check::Type::Unknown),
        (None, [true, false, false]) => health_check::Type::Command,
        (None, [false, true, false]) => health_check::Type::Http,
        _ => return Err("health check has no type".into()),
    };
    let fits = match kind {
        health_check::Type::Command => kinds[0],
        health_check::Type::Http => kinds[1],
        health_check::Type::Tcp => kinds[2],
        health_check::Type::Unknown => false,
    };
    if !fits {
        return Err("health check does not fit its type".into());
    }
    if let Some(http) = &check.http {
        if http.path.as_deref().is_some_and(|path| !path.starts_with('/')) {
            return Err("path of a health check does not begin with /".into());
        }
        if http.scheme.as_deref().is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
            return Err("scheme of a health check is neither http nor https".into());
        }
    }
    let times = [check.delay_seconds, check.interval_seconds, check.timeout_seconds, check.grace_period_seconds];
    if times.into_iter().flatten().any(|time| time < 0.0) {
        return Err("a time of the health check is negative".into());
    }
    Ok(())
}

fn command(command: &mesos::v1::CommandInfo) -> Result<(), String> {
    use mesos::v1::environment::variable::Type;
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let kind = variable.r#type.map_or(Ok(Type::Value), Type::try_from);
        let good = match kind {
            Ok(Type::Value) => variable.value.is_some() && variable.secret.is_none(),
            Ok(Type::Secret) => variable.value.is_none() && variable.secret.is_some(),
            _ => false,
        };
        if !good {
            return Err(format!("environment variable '{}' does not fit its type", variable.name));
        }
    }
    Ok(())
}

fn container(container: &ContainerInfo, in_group: bool) -> Result<(), String> {
    use mesos::v1::container_info::Type;
    let docker = container.r#type == Type::Docker as i32;
    if docker && container.docker.is_none() {
        return Err("a DOCKER container needs DockerInfo".into());
    }
    if docker && container.mesos.is_some() || !docker && container.docker.is_some() {
        return Err("ContainerInfo does not fit its type".into());
    }
    if docker && in_group {
        return Err("a task group takes no DOCKER containers".into());
    }
    if container.docker.iter().flat_map(|docker| &docker.parameters).any(|parameter| parameter.key == "name") {
        return Err("the parameter name of docker is Mesos' own".into());
    }
    for volume in &container.volumes {
        let kinds = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
        if kinds.iter().filter(|kind| **kind).count() > 1 {
            return Err("a volume has one source only".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_follow_the_rules() {
        for good in ["*", "web", "web/front", "a.b", "web_1"] {
            assert_eq!(role(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/..", "a/*", "-a", "a b", "a\u{8}"] {
            assert!(role(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_must_be_file_names() {
        assert!(id("task id", "www-data-devel-hello-0").is_ok());
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(id("task id", bad).is_err(), "{bad:?}");
        }
    }
}
