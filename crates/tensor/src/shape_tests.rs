use super::*;
use proptest::prelude::*;

#[test]
fn broadcasting_follows_numpy() {
    let s = |v: &[usize]| Shape::new(v);
    assert_eq!(s(&[3, 1]).broadcast(&s(&[4])), Some(s(&[3, 4])));
    assert_eq!(s(&[]).broadcast(&s(&[2, 1])), Some(s(&[2, 1])));
    assert_eq!(s(&[0, 1]).broadcast(&s(&[1, 5])), Some(s(&[0, 5])));
    assert_eq!(s(&[3]).broadcast(&s(&[4])), None);
}

/// The element order of a layout, by walking every index.
fn walk(layout: &Layout) -> Vec<usize> {
    let mut out = Vec::new();
    let rank = layout.shape.rank();
    for flat in 0..layout.shape.count() {
        let (mut rest, mut at) = (flat, layout.offset);
        for d in (0..rank).rev() {
            at += rest % layout.shape[d] * layout.strides[d];
            rest /= layout.shape[d];
        }
        out.push(at);
    }
    out
}

proptest! {
    #[test]
    fn a_reshaped_view_walks_the_same_elements(
        sizes in prop::collection::vec(1_usize..5, 0..5),
        swap in (0_usize..5, 0_usize..5),
        split in 0_usize..5,
    ) {
        let mut layout = Layout::contiguous(Shape::new(&sizes));
        if sizes.len() > 1 {
            layout = layout.transposed(swap.0 % sizes.len(), swap.1 % sizes.len());
        }
        let mut target = layout.shape.to_vec();
        if split < target.len() {
            let size = target[split];
            target[split] = 1;
            target.insert(split, size);
        }
        while target.len() > 3 {
            let last = target.pop().unwrap();
            *target.last_mut().unwrap() *= last;
        }
        let target = Shape::new(&target);
        match layout.reshaped(target) {
            Some(view) => prop_assert_eq!(walk(&view), walk(&layout)),
            None => prop_assert!(!layout.is_contiguous()),
        }
    }
}
