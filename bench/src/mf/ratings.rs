//! Ratings with the shape of a log of film ratings, drawn by lot around a known taste.
//!
//!   rating = mean + user's bias + item's bias + taste · kind + noise, in half stars
//!
//! Popularity falls by a power law (Zipf-Mandelbrot), activity is log-normal with a floor, what a user likes is rated more often,
//! no pair comes twice, and ids say nothing about any of it. One rating in ten is held out.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tandem_kernels::funk::Rating;

use crate::data;
use crate::draw::{Draw, sums};

/// What a set of ratings looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) users: usize,
    pub(super) items: usize,
    /// About how many.
    ratings: usize,
    /// Weight of the item of rank `r`: `(r + shift) ^ -exponent`.
    exponent: f64,
    shift: f64,
}

/// As MovieLens-1M: 20 factors fit a cache.
pub(super) const SMALL: Shape =
    Shape { name: "small", users: 6_040, items: 3_706, ratings: 1_000_000, exponent: 1.35, shift: 14.8 };
/// As MovieLens-25M with fewer ratings: neither 20 nor 100 factors fit.
pub(super) const LARGE: Shape =
    Shape { name: "large", users: 162_541, items: 59_047, ratings: 8_000_000, exponent: 2.0, shift: 300.0 };

/// The least and the highest rating.
pub(super) const RANGE: (f32, f32) = (0.5, 5.0);
/// What is rated so was liked; with this, one of the held-out ratings is worth recommending.
const LIKED: f32 = 3.0;
pub(super) const RELEVANT: f32 = 4.0;

const HELD_OUT: f64 = 0.1;
/// Hidden factors of the known taste.
const RANK: usize = 16;
const MEAN: f64 = 3.35;
const USER_BIAS: f64 = 0.43;
const ITEM_BIAS: f64 = 0.47;
const TASTE: f64 = 0.5;
const NOISE: f64 = 0.72;
/// Ratings of the least active user.
const FLOOR: f64 = 20.0;
const ACTIVITY: f64 = 1.25;
/// The most active user has rated this part of all items.
const CEILING: f64 = 0.4;
/// A user who has looked at so many items for each rating has fewer ratings.
const PATIENCE: usize = 40;

/// Files of ratings in one folder.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// The files of ratings of some shape, made if they are not there.
    pub(super) fn of(shape: &Shape, folder: &Path) -> anyhow::Result<Self> {
        let made = data::made_once(folder.join(format!("mf-{}", shape.name)), |part| {
            data::empty(part)?;
            write_all(part, generate(shape))
        });
        made.map(Self)
    }

    pub(super) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// To train with.
    pub(super) fn train(&self) -> anyhow::Result<Vec<Rating>> {
        read(&self.0.join("train"))
    }

    /// Held out.
    pub(super) fn test(&self) -> anyhow::Result<Vec<Rating>> {
        read(&self.0.join("test"))
    }

    /// Those to train with that say that a user liked an item, with the strength 1.
    pub(super) fn liked(&self) -> anyhow::Result<Vec<Rating>> {
        read(&self.0.join("liked"))
    }
}

/// Deals ratings out to the three files.
fn write_all(folder: &Path, ratings: Vec<Rating>) -> anyhow::Result<()> {
    let mut draw = Draw::new(7);
    let (test, train): (Vec<Rating>, Vec<Rating>) = ratings.into_iter().partition(|_| draw.unit() < HELD_OUT);
    let liked = train.iter().filter(|rating| rating.value >= LIKED).map(|rating| Rating { value: 1.0, ..*rating });
    write(&folder.join("liked"), liked)?;
    write(&folder.join("train"), train.iter().copied())?;
    write(&folder.join("test"), test.iter().copied())
}

/// User, item and value, four bytes each, rating after rating.
fn write(path: &Path, ratings: impl Iterator<Item = Rating>) -> anyhow::Result<()> {
    let bytes_of = |rating: Rating| [rating.user.to_le_bytes(), rating.item.to_le_bytes(), rating.value.to_le_bytes()];
    let bytes: Vec<u8> = ratings.flat_map(bytes_of).flatten().collect();
    Ok(std::fs::write(path, bytes)?)
}

fn read(path: &Path) -> anyhow::Result<Vec<Rating>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let (words, rest) = bytes.as_chunks();
    ensure!(rest.is_empty() && words.len() % 3 == 0, "{} does not hold whole ratings", path.display());
    let rating = |words: &[[u8; 4]; 3]| Rating {
        user: u32::from_le_bytes(words[0]),
        item: u32::from_le_bytes(words[1]),
        value: f32::from_le_bytes(words[2]),
    };
    Ok(words.as_chunks().0.iter().map(rating).collect())
}

/// What is known of a user or an item.
struct Known {
    bias: f64,
    hidden: [f64; RANK],
}

impl Known {
    fn draw(draw: &mut Draw, bias: f64) -> Self {
        // The first hidden factors matter most; so many of them together have the standard deviation that taste has.
        let weights: [f64; RANK] = std::array::from_fn(|at| 1.0 / (at as f64 + 1.0).sqrt());
        let scale = TASTE / weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
        let hidden = weights.map(|weight| draw.normal() * (weight * scale).sqrt());
        Self { bias: draw.normal() * bias, hidden }
    }

    fn likes(&self, other: &Self) -> f64 {
        self.hidden.iter().zip(&other.hidden).map(|(a, b)| a * b).sum()
    }
}

fn generate(shape: &Shape) -> Vec<Rating> {
    let draw = &mut Draw::new(42);
    let items: Vec<Known> = (0..shape.items).map(|_| Known::draw(draw, ITEM_BIAS)).collect();
    let mut popularity: Vec<f64> =
        (1..=shape.items).map(|rank| (rank as f64 + shape.shift).powf(-shape.exponent)).collect();
    draw.shuffle(&mut popularity);
    let popularity = sums(popularity);
    let activity: Vec<f64> = (0..shape.users).map(|_| (ACTIVITY * draw.normal()).exp()).collect();
    let scale = (shape.ratings as f64 / shape.users as f64 - FLOOR) * shape.users as f64 / activity.iter().sum::<f64>();
    let most = CEILING * shape.items as f64;

    let mut ratings = Vec::with_capacity(shape.ratings);
    // By item, the last user who rated it.
    let mut rated_by = vec![None; shape.items];
    for (user, activity) in (0..).zip(&activity) {
        let known = Known::draw(draw, USER_BIAS);
        let wanted = (FLOOR + activity * scale).min(most) as usize;
        let before = ratings.len();
        for _ in 0..wanted * PATIENCE {
            if ratings.len() == before + wanted {
                break;
            }
            let item = draw.by_weight(&popularity);
            let likes = known.likes(&items[item]);
            if rated_by[item] == Some(user) || draw.unit() > 1.0 / (1.0 + (-likes - items[item].bias).exp()) {
                continue;
            }
            rated_by[item] = Some(user);
            let exact = MEAN + known.bias + items[item].bias + likes + draw.normal() * NOISE;
            let value = ((exact * 2.0).round() / 2.0) as f32;
            ratings.push(Rating { user, item: item as u32, value: value.clamp(RANGE.0, RANGE.1) });
        }
    }
    ratings
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const TINY: Shape = Shape { name: "tiny", users: 50, items: 200, ratings: 2_000, exponent: 1.35, shift: 1.0 };

    #[test]
    fn no_pair_is_rated_twice_and_every_rating_is_in_range() {
        let ratings = generate(&TINY);
        assert!((1_000..=2_000).contains(&ratings.len()), "{}", ratings.len());
        let pairs: HashSet<(u32, u32)> = ratings.iter().map(|rating| (rating.user, rating.item)).collect();
        assert_eq!(pairs.len(), ratings.len());
        let good = |rating: &Rating| {
            (RANGE.0..=RANGE.1).contains(&rating.value) && (rating.value * 2.0).fract() == 0.0 && rating.item < 200
        };
        assert!(ratings.iter().all(good));
    }

    #[test]
    fn files_hold_all_ratings_once() {
        let folder = std::env::temp_dir().join(format!("bench-ratings-{}", std::process::id()));
        data::empty(&folder).unwrap();
        let files = Files::of(&TINY, &folder).unwrap();
        let (train, test, liked) = (files.train().unwrap(), files.test().unwrap(), files.liked().unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        let mut all = [train.clone(), test].concat();
        all.sort_by_key(|rating| rating.user);
        let by_user = |ratings: &[Rating]| {
            let mut pairs: Vec<_> = ratings.iter().map(|rating| (rating.user, rating.item)).collect();
            pairs.sort_unstable();
            pairs
        };
        assert_eq!(by_user(&all), by_user(&generate(&TINY)));
        assert!(!liked.is_empty() && liked.len() < train.len());
    }
}
