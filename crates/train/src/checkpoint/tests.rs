//! Torn, corrupt and superseded checkpoints.

use std::fs;
use std::path::Path;

use rappel_tensor::Tensor;

use super::*;
use crate::Notes;

fn named(value: f32) -> Named<'static> {
    vec![("weight", Tensor::from_slice(&[value, -value], [2])).into()]
}

fn save(checkpoints: &Checkpoints, step: u64) -> PathBuf {
    let losses = [0.1, 1.0 / 3.0].into();
    let state = State { step, losses, ..State::new("c".into(), "d".into(), 9) };
    checkpoints.save(&state, named(step as f32), named(-1.0)).unwrap()
}

/// The step of the newest complete checkpoint, and the steps passed over with the reasons.
fn newest(checkpoints: &Checkpoints) -> (Option<u64>, Vec<String>) {
    let mut notes = Notes::default();
    let whole = checkpoints.newest_whole(&mut notes).unwrap();
    (whole.map(|whole| whole.state.step), notes.0)
}

fn visible(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_saved_comes_back_and_the_last_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().to_owned(), 2);
    assert_eq!(newest(&checkpoints), (None, vec![]));
    for step in [5, 10, 100, 90] {
        save(&checkpoints, step);
    }
    assert_eq!(visible(folder.path()), ["step-10", "step-100", "step-90"]);
    let mut notes = Notes::default();
    let whole = checkpoints.newest_whole(&mut notes).unwrap().unwrap();
    assert_eq!(notes, Notes::default());
    assert_eq!(whole.state.losses, [0.1, 1.0 / 3.0]);
    let params = whole.params().unwrap().tensor("weight").unwrap();
    assert_eq!(params.to_vec::<f32>(), [100.0, -100.0]);
    assert_eq!(whole.optimizer().unwrap().names(), ["weight"]);
}

#[test]
fn every_way_of_being_torn_is_noticed_and_an_older_one_is_taken() {
    type Tear = fn(&Path);
    let tears: [(&str, Tear); 7] = [
        ("manifest.json: No such file", |at| fs::remove_file(at.join("manifest.json")).unwrap()),
        ("manifest.json: EOF", |at| fs::write(at.join("manifest.json"), "{").unwrap()),
        ("manifest.json lists other files", |at| {
            fs::write(at.join("manifest.json"), "{\"files\":{}}").unwrap();
        }),
        ("optimizer.safetensors: No such file", |at| fs::remove_file(at.join(OPTIMIZER)).unwrap()),
        ("params.safetensors has 7 bytes of", |at| fs::write(at.join(PARAMS), "1234567").unwrap()),
        ("params.safetensors is not what was written", |at| {
            let mut bytes = fs::read(at.join(PARAMS)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(at.join(PARAMS), bytes).unwrap();
        }),
        ("state.json is not what was written", |at| {
            let text = fs::read_to_string(at.join(STATE)).unwrap();
            fs::write(at.join(STATE), text.replace("\"step\": 2", "\"step\": 3")).unwrap();
        }),
    ];
    for (reason, tear) in tears {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_owned(), 9);
        save(&checkpoints, 1);
        tear(&save(&checkpoints, 2));
        let (step, notes) = newest(&checkpoints);
        assert_eq!(step, Some(1), "{reason}");
        assert!(notes.len() == 1 && notes[0].contains(reason), "{reason}: {notes:?}");
        assert!(notes[0].contains("step-2"), "{notes:?}");
        save(&checkpoints, 2);
        assert_eq!(newest(&checkpoints), (Some(2), vec![]), "saved again over the torn one");
    }
}

#[test]
fn without_a_complete_checkpoint_nothing_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().to_owned(), 1);
    fs::write(save(&checkpoints, 3).join(STATE), "").unwrap();
    let error = checkpoints.newest_whole(&mut ()).unwrap_err().to_string();
    assert!(error.starts_with("no checkpoint in") && error.contains("is complete"), "{error}");
}

#[test]
fn leftovers_of_a_kill_are_never_taken_and_go_with_the_next_save() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().to_owned(), 1);
    let path = save(&checkpoints, 3);
    for leftover in [".step-4.partial", ".step-2.gone"] {
        fs::create_dir(folder.path().join(leftover)).unwrap();
        fs::copy(path.join(STATE), folder.path().join(leftover).join(STATE)).unwrap();
    }
    assert_eq!(newest(&checkpoints), (Some(3), vec![]));
    save(&checkpoints, 4);
    assert_eq!(visible(folder.path()), ["step-4"]);
}
