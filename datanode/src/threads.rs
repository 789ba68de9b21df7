//! `--threads`: which stages of the pipeline run on which threads.

use duet_runtime::parse_cpu_list;
use std::str::FromStr;

/// Most threads of a node.
const MOST_THREADS: usize = 256;
/// Most threads of a group: a node has no more parts of a kind.
const MOST_OF_A_GROUP: usize = 128;
/// Most CPUs that the automatic plan uses: with more, it would have more data parts than a node may have.
const MOST_AUTOMATIC: usize = 224;

/// Stages that one group of threads runs, each thread one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Receives.
    pub receive: bool,
    /// Coordinates transactions.
    pub coordinate: bool,
    /// Manages data.
    pub manage: bool,
    /// Sends.
    pub send: bool,
}

/// What `--threads` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Chosen from the CPUs that the process may use.
    Automatic,
    /// All stages in one thread, without mailboxes.
    Batch,
    /// Groups of threads, and the CPUs to pin them to in this order.
    Groups {
        /// Stages and number of threads.
        groups: Vec<(Stages, usize)>,
        /// CPUs, if any were named.
        cpus: Option<Vec<usize>>,
    },
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Threads, String> {
        match text.trim() {
            "auto" => return Ok(Threads::Automatic),
            "batch" => return Ok(Threads::Batch),
            _ => {}
        }
        let (text, cpus) = split_cpus(text)?;
        let mut groups = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if matches!(part, "auto" | "batch") {
                return Err(format!("'{part}' stands alone; --cpus names its CPUs"));
            }
            let (names, count) = part.split_once('=').ok_or_else(|| usage(part))?;
            let count = count.trim().parse::<usize>().map_err(|_| usage(part))?;
            if !(1..=MOST_OF_A_GROUP).contains(&count) {
                return Err(format!("'{part}': a group has 1 to {MOST_OF_A_GROUP} threads"));
            }
            let mut stages = Stages::default();
            for name in names.split('+') {
                let stage = match name.trim() {
                    "recv" => &mut stages.receive,
                    "tc" => &mut stages.coordinate,
                    "ldm" => &mut stages.manage,
                    "send" => &mut stages.send,
                    _ => return Err(usage(part)),
                };
                if std::mem::replace(stage, true) {
                    return Err(format!("'{part}' names a stage twice"));
                }
            }
            groups.push((stages, count));
        }
        check(&groups)?;
        Ok(Threads::Groups { groups, cpus })
    }
}

/// Splits `cpus=LIST` off, which may contain commas and therefore comes last.
fn split_cpus(text: &str) -> Result<(&str, Option<Vec<usize>>), String> {
    let Some((groups, list)) = text.split_once("cpus=") else { return Ok((text, None)) };
    let cpus = parse_cpu_list(list).map_err(|error| error.to_string())?;
    Ok((groups.trim_end().trim_end_matches(','), Some(cpus)))
}

fn usage(part: &str) -> String {
    format!(
        "'{part}' is no group of threads; write auto, batch, or groups with their numbers such as recv=1,tc=1,ldm=2,send=1,cpus=0-4"
    )
}

fn check(groups: &[(Stages, usize)]) -> Result<(), String> {
    let times = |is: fn(&Stages) -> bool| groups.iter().filter(|(stages, _)| is(stages)).count();
    let counts = [
        ("recv", times(|stages| stages.receive)),
        ("tc", times(|stages| stages.coordinate)),
        ("ldm", times(|stages| stages.manage)),
    ];
    for (name, count) in counts {
        if count != 1 {
            return Err(format!("the stage {name} must be named once, and is named {count} times"));
        }
    }
    if times(|stages| stages.send) > 1 {
        return Err("the stage send may be named once; without it every receiver sends itself".to_owned());
    }
    let threads: usize = groups.iter().map(|(_, count)| count).sum();
    if threads > MOST_THREADS {
        return Err(format!("{threads} threads are more than {MOST_THREADS}"));
    }
    Ok(())
}

/// Groups for so many CPUs (at least 4), after the published plans of RonDB: about 50 to 60 % of the threads manage data,
/// 20 to 25 % coordinate, 10 to 15 % receive, 10 % send.
pub fn automatic(cpus: usize) -> Vec<(Stages, usize)> {
    let receive = Stages { receive: true, ..Stages::default() };
    let coordinate = Stages { coordinate: true, ..Stages::default() };
    let manage = Stages { manage: true, ..Stages::default() };
    let send = Stages { send: true, ..Stages::default() };
    if cpus <= 5 {
        let front = Stages { receive: true, coordinate: true, ..Stages::default() };
        return vec![(front, 1), (manage, cpus - 2), (send, 1)];
    }
    let cpus = cpus.min(MOST_AUTOMATIC);
    let senders = (cpus / 10).max(1);
    let receivers = (cpus * 12 / 100).max(1);
    let coordinators = (cpus * 22 / 100).max(1);
    let managers = cpus - senders - receivers - coordinators;
    vec![(receive, receivers), (coordinate, coordinators), (manage, managers), (send, senders)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        assert_eq!("auto".parse(), Ok(Threads::Automatic));
        assert_eq!("batch".parse(), Ok(Threads::Batch));
        let Ok(Threads::Groups { groups, cpus }) = "recv=1,tc=1,ldm=2,send=1,cpus=0-2,4,5".parse() else {
            panic!("valid")
        };
        assert_eq!(groups.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1, 2, 1]);
        assert_eq!(cpus, Some(vec![0, 1, 2, 4, 5]));
        let Ok(Threads::Groups { groups, cpus: None }) = "recv+tc=1, ldm=3".parse() else { panic!("valid") };
        assert!(groups[0].0.receive && groups[0].0.coordinate && !groups[0].0.send);
    }

    #[test]
    fn wrong_plans_are_refused_with_a_sentence() {
        for (text, says) in [
            ("", "recv must be named once"),
            ("recv=1", "tc must be named once"),
            ("recv=1,tc=1,ldm=0", "1 to 128"),
            ("recv=1,tc=1,ldm=129", "1 to 128"),
            ("auto,cpus=0", "stands alone"),
            ("recv+tc+ldm", "with their numbers"),
            ("recv=1,tc=1,ldm=2,ldm=1", "named 2 times"),
            ("recv=1,tc=1,ldm=2,send=1,send=1", "send may be named once"),
            ("recv=1,tc=x,ldm=2", "is no group"),
            ("recv+recv=1,tc=1,ldm=2", "twice"),
            ("cook=1,recv=1,tc=1,ldm=2", "is no group"),
            ("recv=100,tc=100,ldm=100", "more than"),
            ("recv=1,tc=1,ldm=2,cpus=b", "list of CPUs"),
        ] {
            let error = text.parse::<Threads>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn automatic_plans_use_every_cpu_once() {
        for cpus in 4..=400 {
            let groups = automatic(cpus);
            check(&groups).unwrap();
            assert_eq!(groups.iter().map(|(_, count)| count).sum::<usize>(), cpus.min(MOST_AUTOMATIC));
            assert!(groups.iter().all(|(_, count)| *count <= 128), "more parts than a node may have");
        }
        let counts: Vec<usize> = automatic(64).iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [7, 14, 37, 6]);
    }
}
