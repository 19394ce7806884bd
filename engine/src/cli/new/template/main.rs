//! Counts words: each text by a task, all of them by an actor.

use tandem::prelude::*;

/// Counts the words of a text, on any worker. If that worker is lost, another one does it again.
#[tandem::task(retries = 3)]
fn count_words(text: String) -> usize {
    text.split_whitespace().count()
}

/// Adds up what was counted, in a process of its own. If that is lost, it goes on from its checkpoint.
struct Total {
    words: usize,
}

#[tandem::actor(max_restarts = 3)]
impl Total {
    fn new() -> Self {
        Self { words: 0 }
    }

    fn add(&mut self, words: usize) -> usize {
        self.words += words;
        self.words
    }

    fn checkpoint(&self) -> usize {
        self.words
    }

    fn restore(words: usize) -> Self {
        Self { words }
    }
}

/// The main program: it runs in the cluster too.
#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let mut texts = args.into_vec();
    if texts.is_empty() {
        texts = vec!["to be or not to be".to_owned(), "that is the question".to_owned()];
    }
    let counts: Vec<ObjectRef<usize>> = texts.into_iter().map(|text| count_words::submit(&ctx, text)).collect();

    let total = Total::spawn(&ctx).await?;
    // The actor gets each count as soon as it is there; they do not come here.
    let totals: Vec<ObjectRef<usize>> = counts.iter().map(|count| total.add(count)).collect();
    let words = ctx.get_all(&totals).await?.into_iter().max().unwrap_or_default();
    println!("{words} words");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_functions() {
        assert_eq!(count_words("one two  three".to_owned()), 3);
    }

    #[test]
    fn actors_are_values() {
        let mut total = Total::new();
        total.add(2);
        assert_eq!(Total::restore(total.checkpoint()).add(3), 5);
    }
}
