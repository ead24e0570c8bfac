//! Which rows share one, and how they lie in it.

use proptest::prelude::*;
use tabtune::text::packing::pack;
use tabtune::text::*;

/// A row of `seq_len` inputs with so many ids, of which all but the first are labels.
fn row(ids: usize, seq_len: usize, salt: u32) -> Row {
    let id = |t: usize| if t < ids { 100 * salt + t as u32 + 1 } else { 0 };
    Row {
        ids: (0..=seq_len).map(id).collect(),
        labels: (1..=seq_len).map(|t| t < ids).collect(),
        tokens: ids.min(seq_len),
    }
}

#[test]
fn each_row_goes_where_it_leaves_the_least_room() {
    // Positions: 8, 3, 4, 5, 2, 8, 1 of 8.
    let rows: Vec<Row> = [9, 4, 5, 6, 3, 9, 2].into_iter().map(|ids| row(ids, 8, 0)).collect();
    assert_eq!(pack(&rows), [vec![0], vec![1, 3], vec![2, 4, 6], vec![5]]);
    assert!(pack(&[]).is_empty());
}

#[test]
fn rows_that_share_one_keep_their_tokens_and_labels_apart() {
    let [a, b, c] = [row(3, 8, 1), row(4, 8, 2), row(2, 8, 3)];
    let micro = MicroBatch::packed(&[&[&a, &b, &c], &[&b]], 3, 8);
    let padding = [0; 8];
    let [first, second] = [[101, 102, 201, 202, 203, 301, 302, 0], [201, 202, 203, 204, 0, 0, 0, 0]];
    assert_eq!(micro.tokens, [first, second, padding].concat());
    let [first, second] = [[102, 103, 202, 203, 204, 302, 0, 0], [202, 203, 204, 0, 0, 0, 0, 0]];
    assert_eq!(micro.labels, [first, second, padding].concat());
    assert_eq!(micro.starts, [[0, 0, 2, 2, 2, 5, 5, 5], [8; 8], [16; 8]].concat());
    assert_eq!((micro.labelled, micro.real_tokens), (6 + 3, 7 + 4));
}

#[test]
#[should_panic(expected = "does not fit into a row")]
fn rows_that_do_not_fit_into_one_are_refused() {
    let [a, b] = [row(6, 8, 1), row(5, 8, 2)];
    MicroBatch::packed(&[&[&a, &b]], 1, 8);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_in_one_group_and_every_group_fits(lengths in prop::collection::vec(0usize..12, 0..40)) {
        let rows: Vec<Row> = lengths.iter().map(|ids| row(*ids, 9, 0)).collect();
        let groups = pack(&rows);
        let mut all = groups.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..rows.len()).collect::<Vec<_>>());
        prop_assert!(groups.iter().all(|group| group.is_sorted()) && groups.is_sorted());
        for group in groups {
            let members: Vec<&Row> = group.iter().map(|i| &rows[*i]).collect();
            let micro = MicroBatch::packed(&[&members], 1, 9);
            let labels = |row: &Row| row.labels.iter().filter(|label| **label).count();
            prop_assert_eq!(micro.labelled as usize, members.iter().map(|row| labels(row)).sum::<usize>());
        }
    }
}
