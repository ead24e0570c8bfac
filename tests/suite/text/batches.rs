//! The order of the data, and what a micro-batch sends to the device.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tabtune::text::*;

#[test]
fn a_batch_is_the_next_rows_and_the_last_of_an_epoch_may_be_smaller() {
    let batches = Batches { rows: 7, batch: 3, seed: 0, shuffle: false };
    assert_eq!(batches.steps_per_epoch(), 3);
    let steps: Vec<_> = (0..4).map(|step| batches.indices(step)).collect();
    assert_eq!(steps, [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![0, 1, 2]]);
    assert!(Batches { rows: 0, ..batches }.indices(5).is_empty());
    assert!(Batches { batch: 0, ..batches }.indices(5).is_empty());
}

#[test]
fn the_shuffle_is_the_documented_one() {
    // From a Python transcription of the documentation of `permutation`.
    let order = |seed, epoch| Batches { rows: 10, batch: 10, seed, shuffle: true }.indices(epoch);
    assert_eq!(order(0, 0), [1, 2, 5, 7, 0, 8, 4, 3, 9, 6]);
    assert_eq!(order(0, 1), [3, 6, 4, 7, 9, 5, 2, 1, 8, 0]);
    assert_eq!(order(7, 0), [6, 1, 8, 3, 0, 2, 9, 4, 5, 7]);
    assert_eq!(order(u64::MAX, u32::MAX), [5, 4, 2, 7, 1, 3, 8, 6, 0, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_epoch_uses_every_row_once(rows in 1usize..60, batch in 1usize..9, seed: u64, epoch in 0u32..5) {
        let batches = Batches { rows, batch, seed, shuffle: true };
        let steps = batches.steps_per_epoch();
        let order: Vec<usize> = (epoch * steps..(epoch + 1) * steps).flat_map(|step| batches.indices(step)).collect();
        prop_assert_eq!(order.len(), rows);
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), rows);
    }

    #[test]
    fn a_micro_batch_lists_its_labels_in_order(
        masks in prop::collection::vec(prop::collection::vec(any::<bool>(), 5), 0..4), missing in 0usize..3,
    ) {
        let made: Vec<Row> = masks.iter().enumerate().map(|(b, mask)| Row {
            ids: (0..6).map(|t| (100 * b + t + 1) as u32).collect(),
            labels: mask.clone(),
            tokens: 3,
        }).collect();
        let batch = made.len() + missing;
        let micro = MicroBatch::assemble(&made.iter().collect::<Vec<_>>(), batch, 5);
        for list in [&micro.tokens, &micro.labels, &micro.rows, &micro.slot_of_row] {
            prop_assert_eq!(list.len(), batch * 5);
        }
        let mut labelled = Vec::new();
        for place in 0..batch * 5 {
            let (b, t) = (place / 5, place % 5);
            let row = made.get(b);
            prop_assert_eq!(micro.tokens[place], row.map_or(0, |r| r.ids[t]));
            if row.is_some_and(|r| r.labels[t]) {
                prop_assert_eq!(micro.labels[place], made[b].ids[t + 1]);
                prop_assert_eq!(micro.slot_of_row[place], labelled.len() as u32);
                labelled.push(place as u32);
            } else {
                prop_assert_eq!((micro.labels[place], micro.slot_of_row[place]), (0, MicroBatch::NO_SLOT));
            }
        }
        prop_assert_eq!((micro.labelled as usize, micro.real_tokens as usize), (labelled.len(), 3 * made.len()));
        labelled.resize(batch * 5, 0);
        prop_assert_eq!(micro.rows, labelled);
    }
}
