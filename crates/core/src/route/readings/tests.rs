use super::*;
use crate::route::Pattern;

fn tree() -> Tree {
    let patterns: Vec<Pattern> = (0..1_000)
        .flat_map(|n| [format!("/api/v1/part-{n}/**"), format!("/p{n}/*/x")])
        .chain(["/*/*/*/export".to_owned(), "/api/*/part-5".to_owned()])
        .map(|pattern| Pattern::parse(&pattern).unwrap())
        .collect();
    Tree::new(patterns.iter(), false)
}

fn count(found: &Matches) -> usize {
    found.readings.len() + found.narrowed.len()
}

/// The result with much more work than is allowed, and the work beyond that for a plain path.
fn work(path: &str, tree: &Tree) -> (Result<usize, PathError>, u32) {
    const BOUND: u32 = 50 * MAX_WORK;
    let mut work = Work::at_most(BOUND);
    let result = matches(path.as_bytes(), tree, &mut work);
    (result.map(|found| count(&found)), BOUND - work.left())
}

#[test]
fn a_path_that_can_be_read_in_one_way_is_read_one_time() {
    let tree = tree();
    let long = format!("/files/{}", "a".repeat(8_000));
    let paths = ["/", "/api/v1/part-7/x", "/p7/1/x?//;", "/a/b/", &long];
    for path in paths {
        assert_eq!(work(path, &tree), (Ok(1), 0), "{path}");
    }
}

#[test]
fn honest_odd_paths_take_less_than_half_of_the_work_that_is_allowed() {
    let tree = tree();
    let escaped = format!("/files/{}", "%E9%97%A8".repeat(900));
    let raw = format!("/files/{}", "\u{95e8}".repeat(2_700));
    let greek = format!("/files/{}", "\u{3b2}".repeat(120));
    for path in [
        &escaped,
        &raw,
        "/api/v1/part-7//x",
        "/api/v1/part-7/a%2Fb;v=1/../c%2520d",
        "/api/v1/./part-7/../part-8/x;jsessionid=1",
        "/recordings/2026-11-26/caf%E9/\u{95e8} 1.mp4",
        "/recordings/100%25%20%231.mp4",
        "/recordings/Z\u{fc}rich Zoo. /\u{c7}a va\u{2026}/\u{e9}t\u{e9}.mp4",
        "/files/\u{ff21}\u{ff22}\u{ff23}\u{ff0f}\u{95e8}\u{ff1f}.mp4",
        &greek,
        "/api/v1/\u{dc}bersicht/Stra\u{df}e-7/\u{c9}tage 2.mp4",
        "/api/v1/\u{41a}\u{430}\u{43c}\u{435}\u{440}\u{430} 7/x",
        "/api/v1/part-7/\u{5165}\u{53e3}/\u{6771}\u{4eac}.mp4",
        "/p7/\u{c785}\u{ad6c} 1/x",
    ] {
        let path = path.replace(' ', "%20");
        let (result, work) = work(&path, &tree);
        assert!(
            result.is_ok() && work < MAX_WORK / 2,
            "{path}: {result:?} {work}"
        );
    }
}

#[test]
fn a_path_that_would_take_more_work_than_is_allowed_is_refused() {
    let tree = tree();
    let (mut refused, mut read) = (0, 0);
    for odd in [
        "/",
        "../",
        "%2e%2e/",
        "%2f",
        "%252f",
        "%25252f",
        ";",
        "a;",
        "%5c",
        "a%5c/",
        "%zz",
        "%E9/",
        "%c0%af",
        "%c0%ae",
        "%u002f",
        "%23",
        "%2541",
        "..%2f",
        "..;/",
        "/%2f;%5c",
        "p1%zz/",
        "part-%E9/",
        "%",
        "a%/",
        "/p10;/../p11;x/",
        ".%ff./",
        "\u{e9}./",
        "\u{e9}/",
        "%C3%A9a",
        "%\u{e9}2f",
        "\u{ff0f}",
        "%EF%BC%8F",
        "%uff0f",
        "%uff41",
        "\u{ff0e}\u{ff0e}/",
        "\u{fdfa}",
        "a%CC%84",
        "\u{2026}/",
        "%20/",
        "./",
        ". ./",
        "%20%2520",
        "...%2f",
        "%C3%A1",
        "p%D0%B0rt-%C2%AD1",
        "\u{ff0f}\u{e9}",
        "\u{ff05}",
        "%\u{ff12}\u{e9}",
        "%c1%30",
        "\u{672f}p",
    ] {
        let odd = odd.replace(' ', "%20");
        for start in ["/", "/api/v1/", "/api/v1/part-7/x%2f..//;%3f/", "/%zz/"] {
            for length in [0, 10, 50, 250, 1_000] {
                let path = format!("{start}{}", odd.repeat(length / odd.len()));
                let (unbounded, work) = work(&path, &tree);
                let bounded = matches(path.as_bytes(), &tree, &mut Work::default())
                    .map(|found| count(&found));
                if work > MAX_WORK {
                    assert_eq!(bounded, Err(PathError::TooAmbiguous), "{path}");
                    refused += 1;
                } else {
                    assert_eq!(bounded, unbounded, "{path}");
                    read += 1;
                }
            }
        }
    }
    assert!(refused > 50 && read > 50, "{refused} {read}");
}
