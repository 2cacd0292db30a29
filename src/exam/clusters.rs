//! Which tasks of an exam share a cluster, where clusters are dear: by what each may disturb. Pure.

use std::collections::BTreeSet;

/// What a task touches of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Where its cluster comes from.
    pub provider: String,
    /// Whether it may touch what is everybody's: nodes, or objects outside namespaces.
    pub alone: bool,
    /// The namespaces that it works in.
    pub namespaces: BTreeSet<String>,
}

/// Returns for each task the number of its cluster, from 0 in the order of their first tasks. Tasks that stay within
/// namespaces of their own share a cluster; no two of one cluster have a namespace in common.
pub fn share(tasks: &[Footprint]) -> Vec<usize> {
    let mut clusters: Vec<Footprint> = Vec::new();
    let mut numbers = Vec::with_capacity(tasks.len());
    for task in tasks {
        let fits = |cluster: &Footprint| {
            let open = !task.alone && !cluster.alone && cluster.provider == task.provider;
            open && cluster.namespaces.is_disjoint(&task.namespaces)
        };
        let number = clusters.iter().position(fits).unwrap_or_else(|| {
            clusters.push(Footprint { namespaces: BTreeSet::new(), ..task.clone() });
            clusters.len() - 1
        });
        clusters[number].namespaces.extend(task.namespaces.iter().cloned());
        numbers.push(number);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task(provider: &str, alone: bool, namespaces: &[&str]) -> Footprint {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        Footprint { provider: provider.to_owned(), alone, namespaces }
    }

    #[test]
    fn tasks_within_their_own_namespaces_share_and_others_do_not() {
        let tasks = [
            task("kind", false, &["shop"]),
            task("kind", true, &["bank"]),
            task("kind", false, &["bank", "post"]),
            task("kind", false, &["shop"]),
            task("kind", false, &["mill"]),
            task("other", false, &["farm"]),
            task("kind", true, &[]),
        ];
        assert_eq!(share(&tasks), [0, 1, 0, 2, 0, 3, 4]);
        assert_eq!(share(&[]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn no_task_ever_meets_another_one(
            tasks in proptest::collection::vec(
                (any::<bool>(), proptest::collection::btree_set("[a-e]", 0..3), "[kl]"),
                0..20,
            )
        ) {
            let tasks: Vec<Footprint> = tasks
                .into_iter()
                .map(|(alone, namespaces, provider)| Footprint { provider, alone, namespaces })
                .collect();
            let numbers = share(&tasks);
            for (a, one) in tasks.iter().enumerate() {
                for (b, other) in tasks.iter().enumerate().skip(a + 1) {
                    if numbers[a] == numbers[b] {
                        prop_assert!(!one.alone && !other.alone && one.provider == other.provider);
                        prop_assert!(one.namespaces.is_disjoint(&other.namespaces));
                    }
                }
            }
            let used: BTreeSet<usize> = numbers.iter().copied().collect();
            prop_assert_eq!(used.len(), numbers.iter().max().map_or(0, |most| most + 1));
        }
    }
}
