//! Pictures of descents, through the binary.

mod common;

use common::Place;

fn surface<'a>(function: &'a str, optimizers: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["surface", "--function", function, "--optimizer", optimizers];
    [&args[..], more].concat()
}

#[test]
fn a_picture_shows_the_paths_and_what_they_reached() {
    let place = Place::new();
    let told = place.ok(&surface("himmelblau", "sgd,adam,lbfgs", &["--out", "him.svg"]));
    let svg = place.read("him.svg");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("himmelblau, 100 steps from (-0.5, -0.7), least value 0"), "{svg}");
    for (name, line) in ["sgd", "adam", "lbfgs"].iter().zip(told.lines()) {
        assert!(svg.contains(&format!(">{name}</text>")), "{name}");
        // What is printed stands in the picture.
        let reached = line.split(", f(").nth(1).unwrap();
        assert!(svg.contains(&format!(">f({reached}</text>")), "{line}");
        let value: f64 = reached.rsplit(" = ").next().unwrap().parse().unwrap();
        assert!(value < 1e-3, "{line}");
    }
    // Contours are many lines, and not a point for each square of the grid.
    assert!(svg.matches("<polyline").count() > 40);
    assert!(svg.len() < 100_000, "{} bytes", svg.len());
    place.ok(&surface(
        "rosenbrock",
        "rprop",
        &["--out", "r.png", "--steps", "20", "--start", "-1,2"],
    ));
    assert!(std::fs::read(place.at("r.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_given_rate_is_kept_and_divergence_told() {
    let place = Place::new();
    let set = ["--out", "q.svg", "--lr", "0.03", "--steps", "5"];
    let told = place.ok(&surface("quadratic", "sgd,adamw:betas=[0.5,0.9]", &set));
    assert_eq!(told.lines().filter(|line| line.contains(": lr 0.03, f(")).count(), 2, "{told}");
    let far = ["--out", "far.svg", "--lr", "1000", "--steps", "400"];
    let told = place.ok(&surface("quadratic", "sgd", &far));
    assert!(told.contains("diverged after "), "{told}");
    assert!(place.read("far.svg").contains(">diverged after "));
}

#[test]
fn what_cannot_be_drawn_is_told_and_nothing_written() {
    let place = Place::new();
    let svg = ["--out", "x.svg"];
    for (args, expected) in [
        (
            surface("rosenbrok", "sgd", &svg),
            "no function is named `rosenbrok`; did you mean `rosenbrock`?",
        ),
        (surface("booth", "sgb", &svg), "no optimizer is named `sgb`; did you mean `sgd`?"),
        (surface("booth", "muon", &svg), "muon is for matrices, and this one has shape [2]"),
        (
            surface("booth", "sgd:moment=1", &svg),
            "`optimizer.moment`: unknown; did you mean `momentum`?",
        ),
        (
            surface("booth", "sgd", &["--out", "x.gif"]),
            "x.gif: a picture's name ends in .png or .svg",
        ),
        (surface("booth", "sgd", &["--out", "none/x.svg"]), "cannot write none/x.svg"),
        (
            surface("booth", "sgd", &["--out", "x.svg", "--lr=-1"]),
            "`optimizer.lr`: -1.0 is out of range",
        ),
    ] {
        let told = place.error(&args);
        assert!(told.contains(expected), "{args:?}: {told}");
    }
    for wrong in [["--steps", "0"], ["--start", "1"], ["--start", "nan,1"]] {
        let args = surface("booth", "sgd", &[&svg[..], &wrong].concat());
        assert_eq!(place.rappel(&args).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(place.names("."), ["corpus.txt", "tiny.toml"]);
}
