//! Near-duplicates: pairs that are neighbours by their features and whose pixels then agree.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{alignment::similarity, nearest::Nearest, pictures::Pictures};
use crate::domain::review::{DuplicateGroup, Photo};

/// Neighbours of each image that are compared with it.
const COMPARED: usize = 5;
/// Cosine of the features from which pixels are compared.
const MIN_COSINE: f32 = 0.5;
/// Correlation of pixels from which a pair is one shot.
const MIN_SIMILARITY: f32 = 0.975;
/// Groups that are kept.
const MAX_GROUPS: usize = 5000;
/// Pairs that a thread takes at a time.
const BLOCK: usize = 256;

/// Two images that show the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The first.
    pub first: usize,
    /// The second, of a larger index.
    pub second: usize,
    /// Correlation of their pixels.
    pub similarity: f32,
}

/// The pairs of images that show the same, in the order of their indices.
#[must_use]
pub fn pairs(nearest: &Nearest, pictures: &Pictures, threads: usize) -> Vec<Pair> {
    let mut candidates: Vec<(usize, usize)> = (0..nearest.images())
        .flat_map(|image| {
            let near = nearest.of_image(image).take(COMPARED);
            near.filter(|(_, cosine)| *cosine >= MIN_COSINE)
                .map(move |(other, _)| (image.min(other), image.max(other)))
        })
        .collect();
    candidates.sort_unstable();
    candidates.dedup();
    let next = AtomicUsize::new(0);
    let blocks: Vec<&[(usize, usize)]> = candidates.chunks(BLOCK).collect();
    let mut found: Vec<Pair> = thread::scope(|scope| {
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        let compare = || {
            let mut found = Vec::new();
            while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.extend(block.iter().filter_map(|&(first, second)| {
                    let similarity = similarity(&pictures.small(first), &pictures.small(second));
                    (similarity >= MIN_SIMILARITY).then_some(Pair { first, second, similarity })
                }));
            }
            found
        };
        let running: Vec<_> = (0..threads.get()).map(|_| scope.spawn(compare)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    found.sort_by_key(|pair| (pair.first, pair.second));
    found
}

/// The first image of the group that pairs join each of so many images to; itself if it is in none.
#[must_use]
pub fn roots(pairs: &[Pair], images: usize) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..images).collect();
    for pair in pairs {
        let (first, second) = (root(&mut parents, pair.first), root(&mut parents, pair.second));
        parents[first.max(second)] = first.min(second);
    }
    (0..images).map(|image| root(&mut parents, image)).collect()
}

/// The groups that pairs join, which have these [`roots`]: those across splits first, then the most
/// alike.
#[must_use]
pub fn groups(pairs: &[Pair], roots: &[usize], photos: &[Photo]) -> Vec<DuplicateGroup> {
    let mut of_root: std::collections::BTreeMap<usize, (Vec<usize>, f32)> =
        std::collections::BTreeMap::new();
    for pair in pairs {
        let group = of_root.entry(roots[pair.first]).or_insert((Vec::new(), 1.0));
        group.0.extend([pair.first, pair.second]);
        group.1 = group.1.min(pair.similarity);
    }
    let mut groups: Vec<DuplicateGroup> = of_root
        .into_values()
        .map(|(mut members, similarity)| {
            members.sort_unstable();
            members.dedup();
            let mut splits: Vec<_> = members.iter().filter_map(|it| photos[*it].split).collect();
            splits.sort_unstable();
            splits.dedup();
            let mut images: Vec<_> = members.iter().map(|it| photos[*it].image_id).collect();
            images.sort_unstable();
            DuplicateGroup {
                images,
                similarity: similarity.into(),
                across_splits: splits.len() > 1,
            }
        })
        .collect();
    groups.sort_by(|a, b| {
        let order = b.across_splits.cmp(&a.across_splits);
        order.then(b.similarity.total_cmp(&a.similarity)).then(a.images.cmp(&b.images))
    });
    groups.truncate(MAX_GROUPS);
    groups
}

fn root(parents: &mut [usize], mut image: usize) -> usize {
    while parents[image] != image {
        parents[image] = parents[parents[image]];
        image = parents[image];
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    #[test]
    fn pairs_join_to_groups_and_those_across_splits_come_first() {
        let splits =
            [Split::Train, Split::Train, Split::Train, Split::Test, Split::Train, Split::Train];
        let photos = splits.map(|split| Photo {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: Some(0),
            split: Some(split),
            shorter_side: 100,
        });
        let pair = |first, second, similarity| Pair { first, second, similarity };
        let pairs = [pair(0, 1, 1.0), pair(2, 3, 0.98), pair(3, 5, 0.99)];
        let roots = roots(&pairs, photos.len());
        assert_eq!(roots, [0, 0, 2, 2, 4, 2]);
        let groups = groups(&pairs, &roots, &photos);
        let ids =
            |places: &[usize]| places.iter().map(|it| photos[*it].image_id).collect::<Vec<_>>();
        assert_eq!(groups.len(), 2);
        assert!(groups[0].across_splits && groups[0].images == ids(&[2, 3, 5]));
        assert!((groups[0].similarity - 0.98).abs() < 1e-6);
        assert!(!groups[1].across_splits && groups[1].images == ids(&[0, 1]));
    }
}
