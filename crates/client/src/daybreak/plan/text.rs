//! A plan as text.

use std::path::Path;

use super::difference::Field;
use super::{Action, Change, Plan};
use crate::daybreak::judgement::{Obstacles, Placement, Quota};
use crate::daybreak::telling::{Tones, amount, listed, number, plain_reason, plural, ranges, span};
use crate::paint::Paint;

/// Fields shown for each group of instances.
const MOST_FIELDS: usize = 40;
/// Hosts shown.
const MOST_HOSTS: usize = 8;

/// The lines of a plan.
pub(super) fn lines(plan: &Plan, path: &Path, paint: Paint) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", paint.title(&plan.key.to_string()), headline(plan, path))];
    instances(plan, paint, &mut lines);
    if let Some(rollout) = &plan.rollout {
        section("How it would go", rollout.sentences(), paint, &mut lines);
    }
    match &plan.forecast {
        Some((forecast, _)) => {
            if let Some(quota) = &forecast.quota {
                section("Quota", quota_lines(quota, paint), paint, &mut lines);
            }
            if let Some(placement) = &forecast.placement {
                section("Room, as it is now", placement_lines(plan, placement, paint), paint, &mut lines);
            }
        }
        None if plan.action != Action::Nothing => {
            let unknown = "This scheduler does not forecast: whether there is quota and room is unknown.".to_owned();
            section("Room", vec![unknown], paint, &mut lines);
        }
        None => {}
    }
    if let Some(refusal) = &plan.refusal {
        let sentence = format!("The scheduler would refuse this: {refusal}");
        lines.extend([String::new(), paint.bad(&sentence)]);
    } else if plan.action != Action::Nothing {
        lines.extend([String::new(), format!("Nothing was changed. To do it: {}", paint.title(&plan.command))]);
    }
    lines
}

fn headline(plan: &Plan, path: &Path) -> String {
    let file = path.display();
    let count = |difference: &super::Difference| {
        let parts = [
            (difference.add.len(), "added"),
            (difference.changed().len(), "changed"),
            (difference.remove.len(), "removed"),
            (difference.keep.len(), "unchanged"),
        ];
        let shown = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        shown.collect::<Vec<_>>().join(", ")
    };
    match (plan.action, &plan.difference) {
        (Action::Nothing, _) => format!("nothing to do, what runs is what {file} says."),
        (Action::Create, Some(difference)) if difference.add.len() == 1 => {
            format!("{file} would create it, with 1 instance.")
        }
        (Action::Create, Some(difference)) => format!("{file} would create it ({}).", count(difference)),
        (Action::Update, Some(difference)) => format!("{file} would update it ({}).", count(difference)),
        (Action::Schedule, _) => format!("{file} would schedule it as a new cron job."),
        (Action::Reschedule, _) => format!("{file} would replace the cron job; tasks that run go on as they are."),
        (Action::Create | Action::Update, None) => format!("what {file} would change is unknown."),
    }
}

fn section(title: &str, content: Vec<String>, paint: Paint, lines: &mut Vec<String>) {
    if content.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(paint.title(title));
    lines.extend(content.into_iter().map(|line| format!("  {line}")));
}

fn instances(plan: &Plan, paint: Paint, lines: &mut Vec<String>) {
    let Some(difference) = &plan.difference else { return };
    if plan.action == Action::Nothing {
        return;
    }
    let before = lines.len();
    let row = |sign: &str, what: &str, ids: &[u32]| format!("  {sign} {what:<7} {}", ranges(ids.iter().copied()));
    if !difference.add.is_empty() {
        lines.push(paint.good(&row("+", "add", &difference.add)));
    }
    for Change { instances, fields } in &difference.change {
        lines.push(paint.notable(&format!("{}  (killed and started anew)", row("~", "change", instances))));
        field_lines(fields, "      ", paint, lines);
    }
    if !difference.remove.is_empty() {
        lines.push(paint.bad(&row("-", "remove", &difference.remove)));
    }
    if !difference.keep.is_empty() {
        lines.push(row("=", "keep", &difference.keep));
    }
    field_lines(&difference.template, "  ", paint, lines);
    if lines.len() > before {
        lines.insert(before, String::new());
    }
}

fn field_lines(fields: &[Field], indent: &str, paint: Paint, lines: &mut Vec<String>) {
    for Field { name, from, to } in fields.iter().take(MOST_FIELDS) {
        let is_long = [from, to].into_iter().flatten().any(|text| text.len() > 50 || text.contains('\n'));
        match (from, to) {
            _ if is_long => {
                lines.push(format!("{indent}{name}:"));
                changed_lines(
                    from.as_deref().unwrap_or_default(),
                    to.as_deref().unwrap_or_default(),
                    indent,
                    paint,
                    lines,
                );
            }
            (Some(from), Some(to)) => {
                lines.push(format!("{indent}{name}: {} -> {}", paint.bad(from), paint.good(to)));
            }
            (None, Some(to)) => lines.push(format!("{indent}{name}: {}", paint.good(to))),
            (Some(from), None) => lines.push(format!("{indent}{name}: {} (no more)", paint.bad(from))),
            (None, None) => {}
        }
    }
    if fields.len() > MOST_FIELDS {
        lines.push(format!("{indent}… and {} more fields", fields.len() - MOST_FIELDS));
    }
}

/// Long texts line by line: what both begin and end with is left out.
fn changed_lines(from: &str, to: &str, indent: &str, paint: Paint, lines: &mut Vec<String>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (from.lines().collect(), to.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
    let mut part = |sign: &str, part: &[&str], colour: fn(Paint, &str) -> String| {
        let part = part[head..part.len() - tail].iter();
        lines.extend(part.map(|line| colour(paint, &format!("{indent}  {sign} {line}"))));
    };
    part("-", &old, <Paint as Tones>::bad);
    part("+", &new, <Paint as Tones>::good);
}

fn quota_lines(quota: &Quota, paint: Paint) -> Vec<String> {
    if !quota.is_needed {
        return vec!["Needs none: its tier is not for production, or its hosts are its own.".to_owned()];
    }
    let kinds = [
        ("cpus", quota.quota.cpus, quota.held.cpus, quota.needed.cpus),
        ("ramMb", quota.quota.ram_mb, quota.held.ram_mb, quota.needed.ram_mb),
        ("diskMb", quota.quota.disk_mb, quota.held.disk_mb, quota.needed.disk_mb),
    ];
    let mut lines = vec![format!("Role {} would hold at most, while this goes on:", quota.role)];
    lines.extend(kinds.into_iter().map(|(kind, may, held, needed)| {
        let line = format!("{} of {} ({} now)", amount(kind, needed), number(may), number(held));
        match needed > may {
            true => paint.bad(&format!("  {line}: {} too much", number(needed - may))),
            false => format!("  {line}"),
        }
    }));
    lines
}

fn placement_lines(plan: &Plan, placement: &Placement, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if !placement.is_connected {
        lines
            .push(paint.notable("The scheduler has no connection to its machines at the moment: nothing would start."));
    }
    let (wanted, fitting) = (placement.wanted, placement.fitting);
    let tasks = plural(wanted, "new task", "new tasks");
    let what = if matches!(plan.action, Action::Schedule | Action::Reschedule) {
        format!("A run has {}", plural(wanted, "task", "tasks"))
    } else if plan.action == Action::Update {
        format!("{tasks}, each in place of the one before where there is one")
    } else {
        tasks
    };
    let all = match fitting {
        _ if fitting == wanted && wanted == 1 => "it would find room".to_owned(),
        _ if fitting == wanted => "all would find room".to_owned(),
        0 if wanted == 1 => "it would find no room and stay pending".to_owned(),
        0 => "none would find room, all would stay pending".to_owned(),
        _ => format!("{fitting} would find room, {} would stay pending", wanted - fitting),
    };
    let line = format!("{what}: {all}.");
    lines.push(if fitting == wanted { paint.good(&line) } else { paint.notable(&line) });
    if !placement.is_complete {
        lines.push("The cluster is large, and the look was cut off: more may fit.".to_owned());
    }
    if !placement.hosts.is_empty() {
        let mut hosts: Vec<(&String, &u64)> = placement.hosts.iter().collect();
        hosts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let hosts: Vec<String> = hosts.into_iter().map(|(name, count)| format!("{name} takes {count}")).collect();
        lines.push(listed(&hosts, MOST_HOSTS));
    }
    if fitting < wanted && plan.action == Action::Update {
        lines.push("The update would wait for those that stay pending: it ends when all new tasks run.".to_owned());
    }
    if let Some(obstacles) = &placement.obstacles {
        lines.extend(obstacle_lines(obstacles));
    }
    lines
}

/// What stands in the way, for people.
pub(crate) fn obstacle_lines(obstacles: &Obstacles) -> Vec<String> {
    let mut lines = Vec::new();
    if !obstacles.sentence.is_empty() {
        lines.push(format!("Why: {}.", obstacles.sentence));
    }
    for reason in &obstacles.reasons {
        let texts: Vec<String> = reason.reasons.iter().map(|text| plain_reason(text)).collect();
        let hosts = match reason.agents.saturating_sub(reason.hosts.len() as u64) {
            0 => reason.hosts.join(", "),
            more => format!("{} and {more} more", reason.hosts.join(", ")),
        };
        let agents = plural(reason.agents, "machine", "machines");
        lines.push(format!("{agents} ({hosts}): {}", texts.join(", ")));
    }
    if let Some(nearest) = &obstacles.nearest {
        let lacks: Vec<String> = nearest
            .lacks
            .iter()
            .map(|lack| {
                let missing = amount(&lack.kind, lack.missing);
                format!("{missing} (needs {}, has {} free)", number(lack.needed), number(lack.free))
            })
            .collect();
        lines.push(format!("Nearest fit: {} lacks {}", nearest.host, lacks.join(" and ")));
    }
    for seen in &obstacles.constraints {
        let mut values: Vec<String> = seen.seen.iter().map(|(value, agents)| format!("{value} ({agents})")).collect();
        if seen.without > 0 {
            values.push(format!("none ({})", seen.without));
        }
        lines.push(format!("Constraint {} asks for {}; machines have: {}", seen.name, seen.wanted, values.join(", ")));
    }
    let help = &obstacles.preemption;
    if let Some(host) = &help.host {
        lines.push(format!(
            "Preemption could help: after {} of waiting it may end {} on {host} to make room",
            span(help.delay_ms),
            plural(help.victims.len() as u64, "task", "tasks")
        ));
    } else if help.enabled && help.looked_at && obstacles.agents > 0 {
        lines.push("Preemption cannot help: there are no tasks it could end that would make enough room".to_owned());
    }
    lines
}
