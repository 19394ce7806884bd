//! Models in a program: `texts ARTICLES FOLDER`. Two actors with a model each add vectors to the articles of a file, and queries over what
//! they made search it. Prints how many articles there are, on how many vectors program and SQL disagree, and which is nearest to
//! article 7.

use tandem::arrow::array::{Array, Int64Array};
use tandem::prelude::*;
use tandem::texts::{Encoder, Precision};

struct Embedder {
    encoder: Encoder,
}

#[tandem::actor]
impl Embedder {
    fn new(folder: String) -> Result<Self> {
        Ok(Self { encoder: Encoder::open(&folder, Precision::F32)? })
    }

    fn embed(&self, rows: Batches) -> Result<Batches> {
        Ok(self.encoder.embed(&rows, "content", "embedding")?)
    }
}

/// The numbers of the only column of a query over articles with vectors.
async fn ask(ctx: &Context, embedded: &Table, sql: &str) -> Result<Vec<i64>> {
    let found = ctx.sql(sql).table("embedded", embedded).await?;
    let mut numbers = Vec::new();
    for batch in &found.rows(ctx).await? {
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>();
        let column = column.ok_or_else(|| tandem::anyhow::anyhow!("no column of integers"))?;
        numbers.extend(column.iter().flatten());
    }
    Ok(numbers)
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (file, folder): (String, String) = (args.parse(0)?, args.parse(1)?);
    let articles = ctx.sql("SELECT id, content FROM articles").file("articles", file).await?;
    let mut embedders = Vec::new();
    for _ in 0..2 {
        embedders.push(Embedder::spawn(&ctx, folder.clone()).await?);
    }
    let parts = articles.parts().iter().zip(embedders.iter().cycle());
    let embedded: Table = parts.map(|(rows, embedder)| embedder.embed(rows)).collect();
    let count = ask(&ctx, &embedded, "SELECT count(*) FROM embedded").await?;
    let different = format!(
        "SELECT count(*) FROM embedded WHERE (embedding IS DISTINCT FROM embed(content, '{folder}', 'f32'))
         OR (embedding IS NULL) <> (content IS NULL)"
    );
    let different = ask(&ctx, &embedded, &different).await?;
    let nearest = "SELECT d.id FROM embedded AS d CROSS JOIN (SELECT embedding FROM embedded WHERE id = 7) AS q
                   ORDER BY cosine_similarity(d.embedding, q.embedding) DESC NULLS LAST, d.id LIMIT 1";
    let nearest = ask(&ctx, &embedded, nearest).await?;
    println!("{count:?} {different:?} {nearest:?}");
    Ok(())
}
