//! The rules of an exam: which tasks are drawn, what each weighs, what it all comes to. Pure: knows scenarios by what
//! a draw needs of them, and no session, clock or cluster.

pub mod clusters;
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

/// A place in an exam whose tasks were chosen beforehand, at least by domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What comes there.
    pub pick: Pick,
    /// Its share of the exam in percent, where that is said.
    pub weight: Option<u32>,
}

/// What comes to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// This scenario.
    Fixed(String),
    /// One that is drawn: of this domain, or of any by the domains' weights.
    Drawn(Option<String>),
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
    /// The places to fill, in their order; then the number of tasks says nothing.
    pub slots: &'a [Slot],
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
    /// A scenario that must be in the exam cannot be.
    #[error("scenario `{scenario}` is not among those that can be drawn here")]
    NotThere {
        /// Which.
        scenario: String,
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
/// Where no number is asked for there are as many tasks as an exam usually has and the clock allows. Tasks of the last
/// exams come again only where there would else be fewer than the real exam has at least.
///
/// # Errors
/// [`DrawError`].
pub fn draw(draw: &Draw<'_>) -> Result<Vec<DrawnTask>, DrawError> {
    if !draw.slots.is_empty() {
        return filled(draw);
    }
    if let Some(tasks) = draw.tasks {
        return drawn(draw, tasks, true);
    }
    let most = USUAL_TASKS.min(draw.candidates.len()).max(1);
    let real = usize::try_from(draw.track.exam.tasks.min).unwrap_or(most).min(most);
    let least = draw.track.domains.len().min(most);
    let with = |seen_too| (real..=most).rev().map(move |tasks| (tasks, seen_too));
    let fewer = (least..real).rev().flat_map(|tasks| [(tasks, false), (tasks, true)]);
    let mut first = None;
    for (tasks, seen_too) in with(false).chain(with(true)).chain(fewer) {
        match drawn(draw, tasks, seen_too) {
            Err(error @ DrawError::TooLong { .. }) => drop(first.get_or_insert(error)),
            done => return done,
        }
    }
    Err(first.unwrap_or(DrawError::TooFew { wanted: most, there: draw.candidates.len() }))
}

/// Draws so many tasks; with `seen_too` those of the last exams may take the place of unseen ones that take longer.
fn drawn(draw: &Draw<'_>, tasks: usize, seen_too: bool) -> Result<Vec<DrawnTask>, DrawError> {
    if tasks == 0 || tasks > draw.candidates.len() {
        return Err(DrawError::TooFew { wanted: tasks, there: draw.candidates.len() });
    }
    let mut random = Random::new(&["exam", draw.track.id.as_str()], u64::from(draw.variant));
    let mut pools = pools(draw, &mut random, &BTreeSet::new());
    let weights: Vec<u32> = draw.track.domains.iter().map(|domain| domain.weight).collect();
    let available: Vec<usize> = pools.iter().map(|pool| pool.order.len()).collect();
    for (pool, seats) in pools.iter_mut().zip(seats(&weights, tasks, &available)) {
        pool.taken = seats;
    }
    fit(&mut pools, draw, &[], seen_too)?;

    let chosen: Vec<&Candidate> = pools.iter().flat_map(|pool| pool.chosen().iter().copied()).collect();
    let shares = task_weights(draw.track, &chosen, 100);
    let order = random.shuffled(chosen.len());
    Ok(order.into_iter().map(|place| task(draw, chosen[place], shares[place])).collect())
}

/// Fills the places that there are, in their order.
fn filled(draw: &Draw<'_>) -> Result<Vec<DrawnTask>, DrawError> {
    let mut random = Random::new(&["exam", draw.track.id.as_str(), "slots"], u64::from(draw.variant));
    let mut fixed: BTreeMap<&str, &Candidate> = BTreeMap::new();
    for slot in draw.slots {
        if let Pick::Fixed(id) = &slot.pick {
            let there = draw.candidates.iter().find(|candidate| candidate.scenario == *id);
            fixed.insert(id, there.ok_or_else(|| DrawError::NotThere { scenario: id.clone() })?);
        }
    }
    let mut pools = pools(draw, &mut random, &fixed.keys().copied().collect());
    let mut free = 0;
    for slot in draw.slots {
        match &slot.pick {
            Pick::Fixed(_) => {}
            Pick::Drawn(None) => free += 1,
            Pick::Drawn(Some(domain)) => {
                let pool = pools.iter_mut().find(|pool| pool.domain == domain);
                let pool = pool.filter(|pool| pool.taken < pool.order.len());
                let there = draw.candidates.iter().filter(|candidate| candidate.domain == *domain).count();
                pool.ok_or(DrawError::TooFew { wanted: there + 1, there })?.taken += 1;
            }
        }
    }
    let weights: Vec<u32> = draw.track.domains.iter().map(|domain| domain.weight).collect();
    let left: Vec<usize> = pools.iter().map(|pool| pool.order.len() - pool.taken).collect();
    let seats = seats(&weights, free, &left);
    if seats.iter().sum::<usize>() < free {
        return Err(DrawError::TooFew { wanted: draw.slots.len(), there: draw.candidates.len() });
    }
    for (pool, seats) in pools.iter_mut().zip(&seats) {
        pool.taken += seats;
    }
    let fixed_tasks: Vec<&Candidate> = fixed.values().copied().collect();
    fit(&mut pools, draw, &fixed_tasks, true)?;

    let mut drawn: Vec<Vec<&Candidate>> = pools.iter().map(|pool| pool.chosen().to_vec()).collect();
    // Those of a domain go where their domain is asked for; what is left goes to the free places in any order.
    let mut of_domain: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for (drawn, (pool, seats)) in drawn.iter_mut().zip(pools.iter().zip(&seats)) {
        of_domain.insert(pool.domain, drawn.split_off(*seats));
    }
    let rest: Vec<&Candidate> = drawn.concat();
    let mut rest = random.shuffled(rest.len()).into_iter().map(|place| rest[place]);
    let mut chosen = Vec::new();
    for slot in draw.slots {
        let candidate = match &slot.pick {
            Pick::Fixed(id) => fixed.get(id.as_str()).copied(),
            Pick::Drawn(Some(domain)) => of_domain.get_mut(domain.as_str()).and_then(Vec::pop),
            Pick::Drawn(None) => rest.next(),
        };
        let there = draw.candidates.len();
        chosen.push(candidate.ok_or(DrawError::TooFew { wanted: draw.slots.len(), there })?);
    }
    let given: u32 = draw.slots.iter().filter_map(|slot| slot.weight).sum();
    let open =
        |(slot, candidate): (&Slot, &&'_ Candidate)| slot.weight.is_none().then(|| (*candidate).clone());
    let open: Vec<Candidate> = draw.slots.iter().zip(&chosen).filter_map(open).collect();
    let mut shares =
        task_weights(draw.track, &open.iter().collect::<Vec<_>>(), 100_u32.saturating_sub(given)).into_iter();
    let weight = |slot: &Slot| slot.weight.or_else(|| shares.next()).unwrap_or_default();
    let weights: Vec<u32> = draw.slots.iter().map(weight).collect();
    Ok(chosen.into_iter().zip(weights).map(|(candidate, weight)| task(draw, candidate, weight)).collect())
}

fn task(draw: &Draw<'_>, candidate: &Candidate, weight: u32) -> DrawnTask {
    let repeated = draw.recent.contains(&candidate.scenario);
    DrawnTask { candidate: candidate.clone(), weight, repeated }
}

/// Shuffles the candidates of each domain, in the track's order, those that are `out` left out.
fn pools<'a>(draw: &Draw<'a>, random: &mut Random, out: &BTreeSet<&str>) -> Vec<Pool<'a>> {
    let pool = |domain: &'a crate::curriculum::Domain| {
        let of = |candidate: &&Candidate| {
            candidate.domain == domain.id.as_str() && !out.contains(candidate.scenario.as_str())
        };
        let there: Vec<&Candidate> = draw.candidates.iter().filter(of).collect();
        let order = random.shuffled(there.len());
        Pool::new(domain.id.as_str(), order.into_iter().map(|place| there[place]).collect(), draw.recent)
    };
    draw.track.domains.iter().map(pool).collect()
}

/// The candidates of a domain in the order of preference, the first `taken` of which are in the exam.
struct Pool<'a> {
    domain: &'a str,
    order: Vec<&'a Candidate>,
    taken: usize,
}

impl<'a> Pool<'a> {
    /// Orders shuffled candidates: unseen ones before seen ones, and among those one of each topic before a second.
    fn new(domain: &'a str, shuffled: Vec<&'a Candidate>, recent: &BTreeSet<String>) -> Self {
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
        Self { domain, order: keyed.into_iter().map(|(_, candidate)| candidate).collect(), taken: 0 }
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

/// Exchanges tasks within their domains until the minutes fit, beside those that are `fixed`; with `seen_too` unseen
/// tasks give way to seen ones when nothing else helps.
fn fit(
    pools: &mut [Pool<'_>],
    draw: &Draw<'_>,
    fixed: &[&Candidate],
    seen_too: bool,
) -> Result<(), DrawError> {
    let all = |pools: &[Pool<'_>]| -> (usize, u32) {
        let tasks = pools.iter().flat_map(|pool| pool.chosen()).chain(fixed);
        tasks.fold((0, 0), |(count, minutes), task| (count + 1, minutes + task.minutes))
    };
    for seen in [false, true].into_iter().filter(|seen| seen_too || !seen) {
        loop {
            let (_, total) = all(pools);
            let Some(over) = total.checked_sub(draw.minutes).filter(|over| *over > 0) else { return Ok(()) };
            let Some((pool, out, into)) = exchange(pools, draw.recent, seen, over) else { break };
            pools[pool].order.swap(out, into);
        }
    }
    let (tasks, least) = all(pools);
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

/// Splits so many percent: to each domain by its weight, within it by minutes; whole numbers, none below 1.
fn task_weights(track: &Track, chosen: &[&Candidate], percent: u32) -> Vec<u32> {
    let mut minutes: BTreeMap<&str, u32> = BTreeMap::new();
    for candidate in chosen {
        *minutes.entry(&candidate.domain).or_default() += candidate.minutes.max(1);
    }
    let weight = |domain: &str| {
        let known = track.domains.iter().find(|known| known.id.as_str() == domain);
        known.map_or(0.0, |known| f64::from(known.weight))
    };
    let sum: f64 = minutes.keys().map(|domain| weight(domain)).sum();
    let share = |candidate: &&Candidate| {
        let of_domain = f64::from(candidate.minutes.max(1)) / f64::from(minutes[candidate.domain.as_str()]);
        f64::from(percent) * weight(&candidate.domain) / sum.max(1.0) * of_domain
    };
    let shares: Vec<f64> = chosen.iter().map(share).collect();
    let mut whole: Vec<u32> = shares.iter().map(|share| (share.floor() as u32).max(1)).collect();
    // What rounding has left goes to those that it took most from; what it gave too much is taken back likewise.
    let over = |whole: &[u32], place: usize| f64::from(whole[place]) - shares[place];
    while whole.iter().sum::<u32>() < percent && !whole.is_empty() {
        let least = (0..whole.len()).min_by(|&a, &b| over(&whole, a).total_cmp(&over(&whole, b)));
        whole[least.unwrap_or(0)] += 1;
    }
    while whole.iter().sum::<u32>() > percent {
        let large = (0..whole.len()).filter(|&place| whole[place] > 1);
        let Some(most) = large.max_by(|&a, &b| over(&whole, a).total_cmp(&over(&whole, b))) else { break };
        whole[most] -= 1;
    }
    whole
}
