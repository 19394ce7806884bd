//! How deep SQL may nest. Parsers, planners and operators call themselves once per level or more often, and a stack that overflows
//! takes its process along: what is too deep for one of them is refused before it gets there.
//!
//! ```text
//!   text ──check_text──▶ statement ──▶ logical plan ──RefuseDeepPlans──▶ optimizer ──▶ stages
//!      no more levels than tokens        levels of operators and expressions on one way down
//! ```

use datafusion::common::config::ConfigOptions;
use datafusion::common::plan_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::error::Result;
use datafusion::logical_expr::sqlparser::dialect::{GenericDialect, dialect_from_str};
use datafusion::logical_expr::sqlparser::keywords::Keyword;
use datafusion::logical_expr::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionContext;

/// What threads need that plan or run queries. Pages that are not reached take no memory.
pub const STACK_BYTES: usize = 64 << 20;
/// Levels of a plan: one for each operator on the way down, and those of its expressions. Planning takes four times as long for twice
/// as many.
const MAX_DEPTH: usize = 2_500;
/// Tokens that no comma parts.
const MAX_RUN: usize = 32_000;

/// Refuses SQL so deep that parsing it could be the end. Chains nest in what they are parsed to, `1 + 1 + 1` as `UNION`s, and each
/// level has a token; but for `UNION`s, no chain goes on after a comma.
///
/// # Errors
/// It is too deep. Whatever else is wrong is for the parser to say.
pub fn check_text(sql: &str, context: &SessionContext) -> Result<()> {
    let dialect = context.copied_config().options().sql_parser.dialect;
    let dialect = dialect_from_str(dialect).unwrap_or_else(|| Box::new(GenericDialect {}));
    let Ok(tokens) = Tokenizer::new(dialect.as_ref(), sql).tokenize() else { return Ok(()) };
    // Where the run begins anew in each of the open parentheses.
    let mut starts = vec![0];
    let mut run = 0;
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::Comma => run = starts.last().copied().unwrap_or(0),
            Token::LParen => starts.push(run),
            Token::RParen if starts.len() > 1 => run = starts.pop().unwrap_or(0),
            Token::Word(word) if matches!(word.keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT) => {
                starts.last_mut().into_iter().for_each(|start| *start += 1);
            }
            _ => {}
        }
        run += 1;
        if run > MAX_RUN {
            return plan_err!("an expression, or a chain of UNIONs, of more than {MAX_RUN} words");
        }
    }
    Ok(())
}

/// Refuses plans that are too deep to be worked with.
#[derive(Debug)]
pub(crate) struct RefuseDeepPlans;

impl AnalyzerRule for RefuseDeepPlans {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut levels = PlanLevels::default();
        plan.visit_with_subqueries(&mut levels)?;
        if levels.deepest > MAX_DEPTH {
            return plan_err!(
                "operators and expressions inside each other, {} levels deep: {MAX_DEPTH} are the most",
                levels.deepest
            );
        }
        Ok(plan)
    }

    fn name(&self) -> &str {
        "refuse_deep_plans"
    }
}

/// Counts levels on the way to each operator of a plan.
#[derive(Default)]
struct PlanLevels {
    way: Vec<usize>,
    deepest: usize,
}

impl<'n> TreeNodeVisitor<'n> for PlanLevels {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        let mut expressions = ExprLevels::default();
        node.apply_expressions(|expression| expression.visit(&mut expressions))?;
        let depth = self.way.last().copied().unwrap_or(0) + 1 + expressions.deepest;
        self.way.push(depth);
        self.deepest = self.deepest.max(depth);
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        self.way.pop();
        Ok(TreeNodeRecursion::Continue)
    }
}

/// Counts levels on the way to each part of an expression.
#[derive(Default)]
struct ExprLevels {
    depth: usize,
    deepest: usize,
}

impl<'n> TreeNodeVisitor<'n> for ExprLevels {
    type Node = Expr;

    fn f_down(&mut self, _: &'n Expr) -> Result<TreeNodeRecursion> {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _: &'n Expr) -> Result<TreeNodeRecursion> {
        self.depth -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::session::QuerySettings;

    /// What planning `sql` says, on a stack as planners have it.
    fn plan(sql: String) -> Result<(), String> {
        let planning = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let context = QuerySettings::new(2, &BTreeMap::new()).planning_context(Arc::default()).unwrap();
            runtime.block_on(async {
                check_text(&sql, &context)?;
                context.sql(&sql).await?.create_physical_plan().await.map(drop)
            })
        });
        planning.unwrap().join().unwrap().map_err(|error| error.strip_backtrace())
    }

    fn chain(term: &str, operator: &str, length: usize) -> String {
        vec![term; length].join(operator)
    }

    #[test]
    fn chains_of_a_few_thousand_terms_are_planned() {
        plan(format!("SELECT {}", chain("1", " + ", 1_000))).unwrap();
        plan(format!("SELECT a FROM (VALUES (1)) AS t (a) WHERE {}", chain("a % 7 = 1", " OR ", 2_400))).unwrap();
        plan(chain("SELECT 1, 2", " UNION ALL ", 300)).unwrap();
    }

    #[test]
    fn deeper_ones_are_refused() {
        for sql in [
            format!("SELECT {}", chain("1", " + ", 5_000)),
            format!("SELECT a FROM (VALUES (1)) AS t (a) WHERE {}", chain("a % 7 = 1", " OR ", 5_000)),
            format!("SELECT 1{}", "::int".repeat(10_000)),
            format!("SELECT 1{}", " IS NULL".repeat(10_000)),
        ] {
            let error = plan(sql.clone()).unwrap_err();
            assert!(error.contains("levels deep: 2500 are the most"), "{:.60}: {error}", sql);
        }
    }

    #[test]
    fn what_could_overflow_the_parser_is_refused_before() {
        for sql in [
            format!("SELECT {}", chain("1", "+", 1_000_000)),
            format!("SELECT f({}, 2)", chain("1", "+", 1_000_000)),
            format!("SELECT {}", chain("1, 2", " UNION SELECT ", 100_000)),
        ] {
            let error = plan(sql).unwrap_err();
            assert!(error.contains("more than 32000 words"), "{error}");
        }
        let long = format!("SELECT 1 IN ({})", chain("1", ", ", 100_000));
        check_text(&long, &SessionContext::new()).unwrap();
        let long = format!("SELECT * FROM (VALUES {})", chain("(1, 'a b c', 2 + 3)", ", ", 100_000));
        check_text(&long, &SessionContext::new()).unwrap();
    }
}
