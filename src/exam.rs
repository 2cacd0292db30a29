//! The rules of an exam: which tasks are drawn, what each weighs, what it all comes to. Pure: knows scenarios by what
//! a draw needs of them, and no session, clock or cluster.

pub mod score;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::curriculum::Track;
use crate::random::Random;

/// How many of the last exams a drawn task must not have been in, while there are others.
pub const FRESH_EXAMS: usize = 3;
/// How many tasks an exam has where no number is asked for; fewer, where their minutes would not fit the clock.
pub const USUAL_TASKS: usize = 17;

/// How many minutes are left when a candidate is told so.
pub const ALERTS: [u32; 3] = [30, 15, 5];

/// Returns the alert that stands when that much of the limit is left: the last that was reached. One that the whole
/// exam would begin with is none.
pub fn alert(left: Duration, limit: Duration) -> Option<u32> {
    let reached = |minutes: &u32| {
        let at = Duration::from_secs(u64::from(*minutes) * 60);
        left <= at && at < limit
    };
    ALERTS.into_iter().filter(reached).min()
}

/// A scenario that could be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub scenario: String,
    /// The topic that it trains.
    pub topic: String,
    /// The domain of that topic in the exam's track.
    pub domain: String,
    /// How many minutes it is meant to take.
    pub minutes: u32,
}

/// What is to be drawn.
#[derive(Debug, Clone)]
pub struct Draw<'a> {
    /// The track, for its domains and their weights.
    pub track: &'a Track,
    /// What there is to draw from.
    pub candidates: &'a [Candidate],
    /// How many tasks; [`USUAL_TASKS`] or as many as fit the clock where there is no number.
    pub tasks: Option<usize>,
    /// How many minutes there are.
    pub minutes: u32,
    /// Scenarios of the last exams.
    pub recent: &'a BTreeSet<String>,
    /// The number that the draw depends on.
    pub variant: u32,
}

/// A task of the exam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnTask {
    /// What was drawn.
    pub candidate: Candidate,
    /// Its share of the exam in percent; the shares add up to 100.
    pub weight: u32,
    /// Whether it was in one of the last exams, since no other was left.
    pub repeated: bool,
}

/// Why no exam can be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// There are too few scenarios.
    #[error("{wanted} tasks are wanted, and there are {there} scenarios to draw from")]
    TooFew {
        /// How many tasks are wanted.
        wanted: usize,
        /// How many scenarios there are.
        there: usize,
    },
    /// The tasks take longer than there is time, whichever are taken.
    #[error("{tasks} tasks take at least {least} minutes, and there are {minutes}")]
    TooLong {
        /// How many tasks are wanted.
        tasks: usize,
        /// The sum of the minutes of the shortest.
        least: u32,
        /// How many minutes there are.
        minutes: u32,
    },
}

/// Draws the tasks of an exam: by the domains' weights, each domain present, unseen ones first, topics spread, within
/// the minutes. The same arguments give the same tasks in the same order.
///
/// # Errors
/// [`DrawError`].
pub fn draw(draw: &Draw<'_>) -> Result<Vec<DrawnTask>, DrawError> {
    match draw.tasks {
        Some(tasks) => drawn(draw, tasks),
        None => {
            let most = USUAL_TASKS.min(draw.candidates.len()).max(1);
            let least = draw.track.domains.len().min(most);
            let fewer = (least..most).rev();
            fewer.fold(drawn(draw, most), |found, tasks| match found {
                Err(DrawError::TooLong { .. }) => drawn(draw, tasks),
                done => done,
            })
        }
    }
}

fn drawn(draw: &Draw<'_>, tasks: usize) -> Result<Vec<DrawnTask>, DrawError> {
    if tasks == 0 || tasks > draw.candidates.len() {
        return Err(DrawError::TooFew { wanted: tasks, there: draw.candidates.len() });
    }
    let mut random = Random::new(&["exam", draw.track.id.as_str()], u64::from(draw.variant));
    let mut pools: Vec<Pool<'_>> = draw
        .track
        .domains
        .iter()
        .map(|domain| {
            let of = |candidate: &&Candidate| candidate.domain == domain.id.as_str();
            let there: Vec<&Candidate> = draw.candidates.iter().filter(of).collect();
            let order = random.shuffled(there.len());
            Pool::new(order.into_iter().map(|place| there[place]).collect(), draw.recent)
        })
        .collect();
    let weights: Vec<u32> = draw.track.domains.iter().map(|domain| domain.weight).collect();
    let available: Vec<usize> = pools.iter().map(|pool| pool.order.len()).collect();
    let seats = seats(&weights, tasks, &available);
    for (pool, seats) in pools.iter_mut().zip(&seats) {
        pool.taken = *seats;
    }
    fit(&mut pools, draw)?;

    let mut chosen: Vec<(u32, &Candidate)> = Vec::new();
    for (pool, weight) in pools.iter().zip(&weights) {
        chosen.extend(pool.chosen().iter().map(|candidate| (*weight, *candidate)));
    }
    let shares = task_weights(&chosen);
    let order = random.shuffled(chosen.len());
    let task = |place: usize| {
        let candidate = chosen[place].1.clone();
        let repeated = draw.recent.contains(&candidate.scenario);
        DrawnTask { candidate, weight: shares[place], repeated }
    };
    Ok(order.into_iter().map(task).collect())
}

/// The candidates of a domain in the order of preference, the first `taken` of which are in the exam.
struct Pool<'a> {
    order: Vec<&'a Candidate>,
    taken: usize,
}

impl<'a> Pool<'a> {
    /// Orders shuffled candidates: unseen ones before seen ones, and among those one of each topic before a second.
    fn new(shuffled: Vec<&'a Candidate>, recent: &BTreeSet<String>) -> Self {
        let mut of_topic: BTreeMap<(bool, &str), usize> = BTreeMap::new();
        let mut keyed: Vec<((bool, usize), &Candidate)> = shuffled
            .into_iter()
            .map(|candidate| {
                let seen = recent.contains(&candidate.scenario);
                let count = of_topic.entry((seen, &candidate.topic)).or_default();
                *count += 1;
                ((seen, *count), candidate)
            })
            .collect();
        keyed.sort_by_key(|(key, _)| *key);
        Self { order: keyed.into_iter().map(|(_, candidate)| candidate).collect(), taken: 0 }
    }

    fn chosen(&self) -> &[&'a Candidate] {
        &self.order[..self.taken]
    }
}

/// Gives each domain its seats by the largest remainder, at least one where it has a candidate, never more than those.
fn seats(weights: &[u32], tasks: usize, available: &[usize]) -> Vec<usize> {
    let present = || (0..weights.len()).filter(|&domain| available[domain] > 0);
    let sum: u64 = present().map(|domain| u64::from(weights[domain])).sum::<u64>().max(1);
    let mut seats = vec![0; weights.len()];
    if present().count() <= tasks {
        present().for_each(|domain| seats[domain] = 1);
    }
    while seats.iter().sum::<usize>() < tasks {
        // What is due is compared in units of 1/sum, so that nothing is rounded; the first of equals wins.
        let due = |domain: usize| {
            (u64::from(weights[domain]) * tasks as u64) as i64 - (seats[domain] as u64 * sum) as i64
        };
        let free = present().filter(|&domain| seats[domain] < available[domain]);
        let Some(next) = free.max_by(|&a, &b| due(a).cmp(&due(b)).then(b.cmp(&a))) else { break };
        seats[next] += 1;
    }
    seats
}

/// Exchanges tasks within their domains until the minutes fit; unseen tasks give way to seen ones only when nothing
/// else helps.
fn fit(pools: &mut [Pool<'_>], draw: &Draw<'_>) -> Result<(), DrawError> {
    for seen_too in [false, true] {
        loop {
            let total: u32 = pools.iter().flat_map(|pool| pool.chosen()).map(|task| task.minutes).sum();
            let Some(over) = total.checked_sub(draw.minutes).filter(|over| *over > 0) else { return Ok(()) };
            let Some((pool, out, into)) = exchange(pools, draw.recent, seen_too, over) else { break };
            pools[pool].order.swap(out, into);
        }
    }
    let tasks = pools.iter().map(|pool| pool.taken).sum();
    let least = pools.iter().flat_map(|pool| pool.chosen()).map(|task| task.minutes).sum();
    Err(DrawError::TooLong { tasks, least, minutes: draw.minutes })
}

/// Finds the exchange that saves just enough, or else the most: (pool, place taken, place not taken).
fn exchange(
    pools: &[Pool<'_>],
    recent: &BTreeSet<String>,
    seen_too: bool,
    over: u32,
) -> Option<(usize, usize, usize)> {
    let mut best = None;
    for (number, pool) in pools.iter().enumerate() {
        for (out, old) in pool.chosen().iter().enumerate() {
            for (into, new) in pool.order.iter().enumerate().skip(pool.taken) {
                let Some(saved) = old.minutes.checked_sub(new.minutes).filter(|saved| *saved > 0) else {
                    continue;
                };
                if !seen_too && recent.contains(&new.scenario) && !recent.contains(&old.scenario) {
                    continue;
                }
                let enough = saved >= over;
                // Among those that save enough the smallest is best, else the largest.
                let rank = (enough, if enough { u32::MAX - saved } else { saved });
                if best.is_none_or(|(known, _): ((bool, u32), _)| rank > known) {
                    best = Some((rank, (number, out, into)));
                }
            }
        }
    }
    best.map(|(_, exchange)| exchange)
}

/// Splits 100 percent: to each domain its weight, within it by minutes; whole numbers, none below 1.
fn task_weights(chosen: &[(u32, &Candidate)]) -> Vec<u32> {
    let mut minutes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut domains: BTreeMap<&str, u32> = BTreeMap::new();
    for (weight, candidate) in chosen {
        *minutes.entry(&candidate.domain).or_default() += candidate.minutes.max(1);
        domains.insert(&candidate.domain, *weight);
    }
    let sum: f64 = domains.values().map(|weight| f64::from(*weight)).sum();
    let share = |(weight, candidate): &(u32, &Candidate)| {
        let of_domain = f64::from(candidate.minutes.max(1)) / f64::from(minutes[candidate.domain.as_str()]);
        100.0 * f64::from(*weight) / sum.max(1.0) * of_domain
    };
    let shares: Vec<f64> = chosen.iter().map(share).collect();
    let mut whole: Vec<u32> = shares.iter().map(|share| (share.floor() as u32).max(1)).collect();
    // What rounding has left goes to those that it took most from; what it gave too much is taken back likewise.
    let over = |whole: &[u32], place: usize| f64::from(whole[place]) - shares[place];
    while whole.iter().sum::<u32>() < 100 && !whole.is_empty() {
        let least = (0..whole.len()).min_by(|&a, &b| over(&whole, a).total_cmp(&over(&whole, b)));
        whole[least.unwrap_or(0)] += 1;
    }
    while whole.iter().sum::<u32>() > 100 {
        let large = (0..whole.len()).filter(|&place| whole[place] > 1);
        let Some(most) = large.max_by(|&a, &b| over(&whole, a).total_cmp(&over(&whole, b))) else { break };
        whole[most] -= 1;
    }
    whole
}
