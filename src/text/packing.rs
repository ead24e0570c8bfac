//! Packing: short examples share a row, so that less of what is computed is padding.

use std::collections::BTreeSet;

use super::rows::Row;

/// Which rows share one, by index. Each is in exactly one group, whole: none is divided.
///
/// Best-fit decreasing: in order of the positions that they take, most first and earlier ones before later ones, each
/// row goes to the group that it leaves the least room in, of several to the one that was begun first, and begins a new
/// group if it fits into none. Rows in a group are in file order, and groups in the order of their first rows.
pub fn pack(rows: &[Row]) -> Vec<Vec<usize>> {
    let taken: Vec<usize> = rows.iter().map(Row::positions).collect();
    let mut order: Vec<(usize, usize)> = taken.into_iter().enumerate().collect();
    order.sort_by_key(|(_, positions)| std::cmp::Reverse(*positions));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // The room that is left in each group, with its index.
    let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (row, positions) in order {
        let seq_len = rows.get(row).map_or(0, |row| row.labels.len());
        let best = open.range((positions, 0)..).next().copied();
        let (room, group) = best.unwrap_or((seq_len, groups.len()));
        open.remove(&(room, group));
        open.insert((room.saturating_sub(positions), group));
        match groups.get_mut(group) {
            Some(members) => members.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_unstable();
    groups
}
