//! An order in which everything comes after what it needs: [`order`], by itself, without any knowledge of what is sorted.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Things that need each other in a circle, in that order: each needs the next, and the last the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circle(pub(crate) Vec<usize>);

/// The order of `ranks.len()` things, of which the thing `i` has the rank `ranks[i]` and needs `needs[i]`. Of those that could come next, the lowest rank does,
/// then the lowest number: the same things in the same order give the same result.
pub(crate) fn order<R: Ord + Copy>(ranks: &[R], needs: &[Vec<usize>]) -> Result<Vec<usize>, Circle> {
    let mut missing: Vec<usize> = vec![0; ranks.len()];
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); ranks.len()];
    for (thing, needs) in needs.iter().enumerate() {
        for &need in needs.iter().filter(|&&need| need != thing) {
            missing[thing] += 1;
            needed_by[need].push(thing);
        }
    }
    let mut ready: BinaryHeap<_> = (0..ranks.len())
        .filter(|&thing| missing[thing] == 0)
        .map(|thing| Reverse((ranks[thing], thing)))
        .collect();
    let mut order = Vec::with_capacity(ranks.len());
    while let Some(Reverse((_, thing))) = ready.pop() {
        order.push(thing);
        for &other in &needed_by[thing] {
            missing[other] -= 1;
            if missing[other] == 0 {
                ready.push(Reverse((ranks[other], other)));
            }
        }
    }
    match missing.iter().position(|&count| count > 0) {
        None => Ok(order),
        Some(start) => Err(circle(start, needs, &missing)),
    }
}

/// From a thing that never became ready, on to one that it waits for, until one is met again: that must happen, because each of them waits for another.
fn circle(start: usize, needs: &[Vec<usize>], missing: &[usize]) -> Circle {
    let mut path = Vec::new();
    let mut place = vec![None; needs.len()];
    let mut thing = start;
    while place[thing].is_none() {
        place[thing] = Some(path.len());
        path.push(thing);
        match needs[thing].iter().find(|&&need| need != thing && missing[need] > 0) {
            Some(&need) => thing = need,
            None => break,
        }
    }
    Circle(path.split_off(place[thing].unwrap_or(0)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn needs_come_first_and_then_ranks_decide() {
        // 0 needs 3; 1 and 2 need nothing and differ in rank.
        assert_eq!(order(&[0, 2, 1, 9], &[vec![3], vec![], vec![], vec![]]).unwrap(), [2, 1, 3, 0]);
        assert_eq!(order::<u8>(&[], &[]).unwrap(), Vec::<usize>::new());
    }

    #[test]
    fn equal_ranks_keep_their_order() {
        assert_eq!(order(&[1, 1, 1], &[vec![], vec![], vec![]]).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn what_needs_itself_or_the_same_thing_twice_is_no_circle() {
        assert_eq!(order(&[0, 0], &[vec![0, 1, 1], vec![]]).unwrap(), [1, 0]);
    }

    #[test]
    fn a_circle_is_told_without_what_only_waits_for_it() {
        // 0 waits for 1; 1, 2 and 3 need each other.
        let circle = order(&[0; 4], &[vec![1], vec![2], vec![3], vec![1]]).unwrap_err();
        assert_eq!(circle, Circle(vec![1, 2, 3]));
    }

    #[test]
    fn a_long_chain_takes_no_stack() {
        let needs: Vec<Vec<usize>> = (0..100_000_usize)
            .map(|thing| if thing == 99_999 { vec![] } else { vec![thing + 1] })
            .collect();
        assert_eq!(order(&vec![0; 100_000], &needs).unwrap()[0], 99_999);
    }
}
