//! Draws values from the variant number. The same scenario, variable and number give the same value on every machine
//! and in every release; values of one draw differ from each other, and neighbouring variants share none where there
//! are enough to choose from. Practice material, not secrets worth keeping: the generator is not a cryptographic one.

use std::collections::{BTreeMap, BTreeSet};

use super::raw::{Placed, RawVar};
use super::{Variant, code::Code};
use crate::random::Random;

/// A drawn value. Numbers stay numbers, so that templates can calculate with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Drawn {
    Text(String),
    Number(i64),
    /// A template over the others, which `render` fills in.
    Template(String),
}

/// Why a variable cannot be drawn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DrawFault {
    pub(crate) variable: String,
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// Draws every variable, or says what is wrong with each that cannot be drawn.
pub(crate) fn draw(
    scenario: &str,
    vars: &BTreeMap<String, Placed<RawVar>>,
    variant: Variant,
) -> Result<BTreeMap<String, Drawn>, Vec<DrawFault>> {
    let mut draw = Draw { scenario, variant: u64::from(variant.0), taken: BTreeSet::new() };
    let mut faults = Vec::new();
    for (name, var) in vars {
        if !is_identifier(name) {
            faults.push(bad(name, format!("`{name}` is no identifier: lower case letters, digits and `_`")));
        } else if let Some(message) = impossible(var) {
            faults.push(bad(name, message));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // What the author wrote down keeps its place; words and persons are then drawn from what is left.
    let written: BTreeSet<&str> = vars
        .values()
        .flat_map(|var| match &var.value {
            RawVar::Choose(options) => options.iter().map(String::as_str).collect(),
            RawVar::Fixed(text) => vec![text.as_str()],
            _ => Vec::new(),
        })
        .collect();
    let mut drawn = BTreeMap::new();
    for (name, var) in vars {
        if let RawVar::Fixed(text) = &var.value {
            draw.taken.insert(text.clone());
            drawn.insert(name.clone(), Drawn::Text(text.clone()));
        }
    }
    for (name, var) in vars {
        let value = match &var.value {
            RawVar::Choose(options) => match draw.choose(name, options) {
                Some(text) => Drawn::Text(text),
                None => {
                    faults.push(DrawFault {
                        variable: name.clone(),
                        code: Code::ValuesCollide,
                        message: format!("every text that `{name}` could be is taken by another variable"),
                    });
                    continue;
                }
            },
            RawVar::Int(range) => Drawn::Number(draw.number(name, range.min, range.max)),
            RawVar::Hex(length) => Drawn::Text(draw.text(name, *length, HEX, 6)),
            RawVar::Secret(length) => Drawn::Text(draw.text(name, *length, LETTERS_AND_DIGITS, 52)),
            RawVar::Address(net) => Drawn::Text(draw.address(name, *net)),
            RawVar::Text(template) => Drawn::Template(template.clone()),
            RawVar::Fixed(_) | RawVar::Word(_) | RawVar::Person(_) => continue,
        };
        drawn.insert(name.clone(), value);
    }
    let named = |wanted: fn(&RawVar) -> bool| -> Vec<&String> {
        vars.iter().filter(|(_, var)| wanted(&var.value)).map(|(name, _)| name).collect()
    };
    let words = draw.several("word", &named(|var| matches!(var, RawVar::Word(_))), WORDS, &written);
    let persons = draw.several("person", &named(|var| matches!(var, RawVar::Person(_))), PERSONS, &written);
    for (name, value) in words.into_iter().chain(persons) {
        match value {
            Some(text) => {
                drawn.insert(name, Drawn::Text(text));
            }
            None => faults.push(DrawFault {
                message: format!("there are not enough words for `{name}`"),
                variable: name,
                code: Code::ValuesCollide,
            }),
        }
    }
    if faults.is_empty() { Ok(drawn) } else { Err(faults) }
}

fn bad(variable: &str, message: String) -> DrawFault {
    DrawFault { variable: variable.to_owned(), code: Code::BadVariable, message }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !["true", "false", "none", "not", "and", "or", "in", "is"].contains(&name)
}

fn impossible(var: &RawVar) -> Option<String> {
    match var {
        RawVar::Choose(options) => {
            let distinct: BTreeSet<_> = options.iter().collect();
            if options.is_empty() {
                return Some("there is nothing to choose from".to_owned());
            }
            if distinct.len() != options.len() {
                return Some("a text is there twice".to_owned());
            }
            let unfit = options.iter().find(|text| text.is_empty() || text.contains(['\n', '\r']));
            unfit.map(|_| "a text is empty or of several lines".to_owned())
        }
        RawVar::Int(range) if range.min > range.max => {
            Some(format!("the range from {} to {} is empty", range.min, range.max))
        }
        RawVar::Hex(length) | RawVar::Secret(length) if !(1..=256).contains(length) => {
            Some(format!("the length {length} is not from 1 to 256"))
        }
        RawVar::Address(net) if net.prefix_len() > 30 => {
            Some(format!("`{net}` has no room for an address beside those of the network itself"))
        }
        RawVar::Fixed(text) | RawVar::Text(text) if text.is_empty() || text.contains(['\n', '\r']) => {
            Some("the text is empty or of several lines".to_owned())
        }
        _ => None,
    }
}

const HEX: &[u8] = b"abcdef0123456789";
const LETTERS_AND_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

struct Draw<'a> {
    scenario: &'a str,
    variant: u64,
    taken: BTreeSet<String>,
}

impl Draw<'_> {
    fn random(&self, purpose: &str, name: &str, number: u64) -> Random {
        Random::new(&[self.scenario, purpose, name], number)
    }

    /// Goes through the options in an order that changes from round to round, so that which options of two variables
    /// meet changes too.
    fn choose(&mut self, name: &str, options: &[String]) -> Option<String> {
        let count = options.len() as u64;
        let round = self.variant / count;
        let order = self.order(name, options.len(), round);
        let start = (self.variant % count) as usize;
        let text = (0..options.len())
            .map(|step| &options[order[(start + step) % options.len()]])
            .find(|text| !self.taken.contains(*text))?
            .clone();
        self.taken.insert(text.clone());
        Some(text)
    }

    fn order(&self, name: &str, count: usize, round: u64) -> Vec<usize> {
        if count < 3 {
            // Two options can only take turns.
            return self.random("choose", name, 0).shuffled(count);
        }
        let mut order = self.random("choose", name, round).shuffled(count);
        if round > 0 {
            let before = self.random("choose", name, round - 1).shuffled(count);
            if order[0] == before[count - 1] {
                order.swap(0, 1);
            }
        }
        order
    }

    /// Walks the range in steps that reach every number before one comes again.
    fn number(&self, name: &str, min: i64, max: i64) -> i64 {
        let count = (i128::from(max) - i128::from(min) + 1) as u128;
        (i128::from(min) + self.walk(name, count) as i128) as i64
    }

    fn walk(&self, name: &str, count: u128) -> u128 {
        let mut random = self.random("walk", name, 0);
        let start = u128::from(random.next()) % count;
        let mut step = u128::from(random.next()) % count;
        while gcd(step, count) != 1 {
            step = (step + 1) % count.max(2);
        }
        (start + u128::from(self.variant) * step) % count
    }

    fn address(&self, name: &str, net: ipnet::Ipv4Net) -> String {
        let hosts = (1_u128 << (32 - u32::from(net.prefix_len()))) - 2;
        let offset = self.walk(name, hosts) as u32 + 1;
        std::net::Ipv4Addr::from(u32::from(net.network()) + offset).to_string()
    }

    /// The first character is one of the first `leading` of the alphabet: letters, so that YAML never takes the text
    /// for a number.
    fn text(&self, name: &str, length: u32, alphabet: &[u8], leading: usize) -> String {
        let mut random = self.random("text", name, self.variant);
        (0..length)
            .map(|position| {
                let choice = if position == 0 { leading } else { alphabet.len() };
                char::from(alphabet[random.below(choice)])
            })
            .collect()
    }

    /// Gives each name another text of the list; the list's order is the scenario's own.
    fn several(
        &mut self,
        purpose: &str,
        names: &[&String],
        list: &[&str],
        written: &BTreeSet<&str>,
    ) -> Vec<(String, Option<String>)> {
        let free: Vec<&str> = list.iter().copied().filter(|text| !written.contains(text)).collect();
        let order = self.random(purpose, "", 0).shuffled(free.len());
        names
            .iter()
            .enumerate()
            .map(|(position, name)| {
                let text = (names.len() <= free.len()).then(|| {
                    let index = u128::from(self.variant) * names.len() as u128 + position as u128;
                    free[order[(index % free.len() as u128) as usize]].to_owned()
                });
                ((*name).clone(), text)
            })
            .collect()
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Words that can be part of a DNS label, are easy to type and mean nothing to a cluster. A list that is changed
/// changes what variants draw from it.
const WORDS: &[&str] = &[
    "acorn", "agate", "alder", "almond", "amber", "anchor", "apricot", "arbor", "aspen", "aster", "badger",
    "bamboo", "barley", "basalt", "basil", "beacon", "beech", "birch", "bison", "bramble", "breeze", "brook",
    "buckle", "cactus", "canal", "candle", "canyon", "caraway", "cedar", "cello", "cherry", "chestnut",
    "cinder", "citrus", "clover", "cobalt", "comet", "condor", "copper", "coral", "cottage", "cove", "crane",
    "cricket", "crocus", "crystal", "cypress", "dahlia", "dolphin", "dune", "eagle", "ember", "fable",
    "falcon", "fennel", "fern", "fiddle", "finch", "fjord", "flint", "forest", "fossil", "foxglove", "gable",
    "garnet", "gecko", "ginger", "glacier", "granite", "grove", "gull", "harbor", "harvest", "hazel",
    "heather", "hedge", "heron", "hickory", "hollow", "honey", "horizon", "indigo", "iris", "island",
    "ivory", "jasmine", "jasper", "juniper", "kelp", "kestrel", "kettle", "lagoon", "lantern", "larch",
    "laurel", "lavender", "ledge", "lemon", "lilac", "linden", "lotus", "lupin", "lynx", "magnet", "mallow",
    "mango", "maple", "marble", "marigold", "marsh", "meadow", "mesa", "mint", "mirror", "mosaic", "moss",
    "mulberry", "myrtle", "nectar", "nettle", "nutmeg", "oasis", "ocean", "olive", "onyx", "opal", "orchard",
    "orchid", "osprey", "otter", "oyster", "paddle", "papaya", "pebble", "pelican", "pepper", "pigeon",
    "pine", "plateau", "plover", "plum", "poplar", "poppy", "prairie", "prism", "puffin", "quarry", "quartz",
    "quill", "quince", "rapids", "raven", "reef", "ridge", "river", "robin", "rosemary", "rowan", "saffron",
    "sage", "sandbar", "sapling", "sequoia", "shale", "shore", "silver", "sorrel", "sparrow", "spruce",
    "starling", "summit", "sundial", "sunrise", "swallow", "sycamore", "tamarind", "tarn", "teak", "thicket",
    "thistle", "thyme", "tidal", "timber", "topaz", "torrent", "tulip", "tundra", "umber", "valley",
    "vanilla", "velvet", "verbena", "violet", "walnut", "warbler", "willow", "winter", "wisteria", "yarrow",
    "yew", "zephyr", "zinnia",
];

/// First names.
const PERSONS: &[&str] = &[
    "ada", "aiko", "amara", "anders", "anouk", "aylin", "bela", "bruno", "carla", "chidi", "dara", "diego",
    "elif", "emeka", "esther", "farah", "felix", "freya", "gita", "hana", "hugo", "ines", "ivo", "jana",
    "jin", "jonas", "kaito", "kamal", "karin", "kofi", "lars", "leila", "lena", "luca", "maja", "marek",
    "mei", "milan", "mina", "mira", "nadia", "nico", "nils", "noor", "olga", "omar", "paolo", "petra",
    "priya", "rafael", "ravi", "rosa", "sami", "sara", "selma", "sven", "tariq", "tessa", "tomas", "uma",
    "vera", "viktor", "wanja", "yara", "yuki", "zeynep", "zora",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(yaml: &str) -> BTreeMap<String, Placed<RawVar>> {
        serde_saphyr::from_str(yaml).unwrap()
    }

    const ALL: &str = "
app: { choose: [storefront, billing, booking, ledger] }
role: { choose: [releaser, shipper] }
port: { int: { min: 8000, max: 8099 } }
team: { word: true }
other: { word: true }
user: { person: true }
id: { hex: 8 }
key: { secret: 20 }
host: { address: 10.20.0.0/16 }
zone: { fixed: test }
";

    fn text(yaml: &str, variant: u32) -> String {
        let drawn = draw("shrink", &vars(yaml), Variant(variant)).unwrap();
        let shown: Vec<String> = drawn
            .iter()
            .map(|(name, value)| match value {
                Drawn::Text(text) | Drawn::Template(text) => format!("{name}={text}"),
                Drawn::Number(number) => format!("{name}={number}"),
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn draws_are_the_same_for_ever() {
        let shown: Vec<String> = [0, 1, 2, 3, 4, 1000, u32::MAX].iter().map(|v| text(ALL, *v)).collect();
        assert_eq!(shown.join("\n"), include_str!("../../tests/fixtures/scenarios/draws.txt").trim_end());
    }

    #[test]
    fn values_of_one_draw_differ() {
        let overlapping = "a: { choose: [x, y, z] }\nb: { choose: [x, y, z] }\nc: { choose: [z, y, x] }\n\
                           d: { word: true }\ne: { word: true }\nf: { fixed: maple }\n";
        for variant in 0..300 {
            let drawn = draw("any", &vars(overlapping), Variant(variant)).unwrap();
            let texts: BTreeSet<_> = drawn.values().map(|value| format!("{value:?}")).collect();
            assert_eq!(texts.len(), 6, "variant {variant}: {drawn:?}");
        }
    }

    #[test]
    fn neighbours_share_nothing_that_can_be_chosen() {
        for variant in 0..500 {
            let (one, two) = (text(ALL, variant), text(ALL, variant + 1));
            let two: BTreeSet<_> = two.split(' ').filter(|pair| !pair.starts_with("zone=")).collect();
            let shared: Vec<_> = one.split(' ').filter(|pair| two.contains(pair)).collect();
            assert!(shared.is_empty(), "variants {variant} and the next share {shared:?}");
        }
    }

    #[test]
    fn numbers_and_addresses_stay_in_their_range_and_reach_all_of_it() {
        let seen: BTreeSet<i64> = (0..12)
            .map(|variant| {
                match &draw("s", &vars("n: { int: { min: -2, max: 9 } }"), Variant(variant)).unwrap()["n"] {
                    Drawn::Number(number) => *number,
                    other => panic!("{other:?}"),
                }
            })
            .collect();
        assert_eq!(seen, (-2..=9).collect());
        for variant in 0..50 {
            let drawn = text("n: { address: 192.168.7.0/29 }", variant);
            let last: u32 = drawn.rsplit('.').next().unwrap().parse().unwrap();
            assert!((1..=6).contains(&last), "{drawn}");
        }
    }

    #[test]
    fn drawn_texts_start_with_a_letter() {
        for variant in 0..200 {
            for pair in text("a: { hex: 6 }\nb: { secret: 12 }", variant).split(' ') {
                assert!(pair[2..].starts_with(|c: char| c.is_ascii_alphabetic()), "{pair}");
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_said_for_each_variable() {
        let faults = draw(
            "s",
            &vars("a: { choose: [] }\nB: { word: true }\nc: { int: { min: 2, max: 1 } }\nd: { secret: 0 }"),
            Variant(0),
        )
        .unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.code == Code::BadVariable));
        let faults = draw("s", &vars("a: { choose: [x] }\nb: { choose: [x] }"), Variant(0)).unwrap_err();
        assert_eq!(faults[0].code, Code::ValuesCollide);
    }

    #[test]
    fn the_lists_hold_no_text_twice() {
        let all: BTreeSet<_> = WORDS.iter().chain(PERSONS).collect();
        assert_eq!(all.len(), WORDS.len() + PERSONS.len());
        assert!(all.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase())));
    }
}
