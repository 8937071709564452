//! The name a user may have meant.

/// The candidate most like `wanted`, if one is near enough to be a likely slip of the pen.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wanted.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (distance(&wanted.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many references one sentence names.
const NAMED_MAX: usize = 20;

/// References as a file has them, with commas between; of very many the first ones, and how many more there are.
pub(crate) fn listed(references: &[&str]) -> String {
    let named = references.iter().take(NAMED_MAX).map(|address| format!("{{{{{address}}}}}"));
    let mut shown = named.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = references.len().saturating_sub(NAMED_MAX) {
        shown.push_str(&format!(" and {more} more"));
    }
    shown
}

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let exchange = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = exchange.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{NAMED_MAX, listed, nearest};

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["cmdline", "name", "max_failures", "min_duration"];
        let nearest = |wanted| nearest(wanted, names.into_iter());
        assert_eq!(nearest("cmdlin"), Some("cmdline"));
        assert_eq!(nearest("nmae"), Some("name"));
        assert_eq!(nearest("max_failure"), Some("max_failures"));
        assert_eq!(nearest("CmdLine"), Some("cmdline"));
        assert_eq!(nearest("environment"), None);
    }

    #[test]
    fn of_very_many_references_the_first_are_named() {
        assert_eq!(listed(&["a", "b.c"]), "{{a}}, {{b.c}}");
        let names: Vec<String> = (0..NAMED_MAX + 3).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(listed(&names[..NAMED_MAX]).ends_with(", {{n19}}"));
        assert!(listed(&names).ends_with(", {{n19}} and 3 more"), "{}", listed(&names));
    }
}
