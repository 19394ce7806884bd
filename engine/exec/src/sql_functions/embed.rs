//! `embed(text, folder)` and `embed(text, folder, precision)`: the vector of a text by the sentence encoder in a folder, for
//! search in tables of vectors:
//!
//! ```sql
//! SELECT id FROM docs ORDER BY cosine_similarity(embedding, embed('rain in the north', 'models/minilm')) DESC LIMIT 10
//! ```
//!
//! ```text
//!   planner: folder made absolute, model looked at, length of vectors ─► worker: model loaded, texts of a batch encoded together
//! ```
//!
//! A text that is null, or in which nothing is a token, has no vector. Folder and precision are the same for all rows. A planner
//! never loads a model: what a statement searches for is encoded by the workers, once in each.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, internal_err, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use tandem_text::columns::vector_type;
use tandem_text::model::{Model, ModelPrecision};

use super::encoders::Encoders;
use crate::error::TaskError;

/// Its name in SQL.
pub(super) const NAME: &str = "embed";

/// The function where it runs, with models in memory of `pool`. Folders are named by their whole paths.
pub(super) fn running(pool: &Arc<dyn MemoryPool>) -> ScalarUDF {
    Embed::at(Arc::new(Place::Worker(Encoders::new(Arc::clone(pool)))))
}

/// The function where statements are planned and never run. Folders may be relative to `base_dir`.
pub(super) fn planned(base_dir: &Path) -> ScalarUDF {
    Embed::at(Arc::new(Place::Planner { base_dir: base_dir.to_owned(), known: Mutex::default() }))
}

/// Whether `expression` itself calls it.
pub(super) fn is_call(expression: &Arc<dyn PhysicalExpr>) -> bool {
    expression.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| call.fun().name() == NAME)
}

#[derive(Debug)]
struct Embed {
    signature: Signature,
    place: Arc<Place>,
}

#[derive(Debug)]
enum Place {
    Planner {
        base_dir: PathBuf,
        /// Models that were looked at, and how long their vectors are.
        known: Mutex<HashMap<PathBuf, usize>>,
    },
    Worker(Encoders),
}

impl Embed {
    fn at(place: Arc<Place>) -> ScalarUDF {
        // Another model may be in the folder for the next statement.
        let signature = Signature::user_defined(Volatility::Stable);
        ScalarUDF::new_from_impl(Self { signature, place })
    }
}

/// A session has one place.
impl PartialEq for Embed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.place, &other.place)
    }
}

impl Eq for Embed {}

impl Hash for Embed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

/// The arguments that are the same for all rows.
struct Request<'a> {
    folder: &'a str,
    precision: ModelPrecision,
}

impl<'a> Request<'a> {
    /// From the values of all arguments that have one.
    fn new(arguments: &[Option<&'a ScalarValue>]) -> Result<Self> {
        let text =
            |place: usize| arguments.get(place).copied().flatten().and_then(|value| value.try_as_str().flatten());
        let folder = text(1).filter(|folder| !folder.is_empty()).ok_or_else(|| {
            plan_datafusion_err!("the second argument of {NAME} is the folder of a model, such as 'models/minilm'")
        })?;
        let precision = match (arguments.len(), text(2)) {
            (..3, _) => ModelPrecision::default(),
            (_, Some(name)) => {
                name.parse::<ModelPrecision>().map_err(|error| plan_datafusion_err!("{NAME}: {error}"))?
            }
            (_, None) => return plan_err!("the third argument of {NAME} is a precision, such as 'f32'"),
        };
        Ok(Self { folder, precision })
    }
}

impl Place {
    /// The whole path of a folder.
    fn absolute(&self, folder: &str) -> Result<PathBuf> {
        match self {
            Self::Planner { base_dir, .. } => Ok(base_dir.join(folder)),
            Self::Worker(_) if Path::new(folder).is_absolute() => Ok(PathBuf::from(folder)),
            Self::Worker(_) => plan_err!("{NAME}: the folder `{folder}` must be named by its whole path here"),
        }
    }

    /// How long the vectors of the model in `folder` are.
    fn dimension(&self, folder: &Path) -> Result<usize> {
        let failed = |error| plan_datafusion_err!("{NAME}: {error}");
        let Self::Planner { known, .. } = self else { return Model::dimension_in(folder).map_err(failed) };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dimension) = known.get(folder) {
            return Ok(*dimension);
        }
        let dimension = Model::check(folder).and_then(|()| Model::dimension_in(folder)).map_err(failed)?;
        known.insert(folder.to_owned(), dimension);
        Ok(dimension)
    }
}

impl ScalarUDFImpl for Embed {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("how long vectors are depends on the model")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let request = Request::new(args.scalar_arguments)?;
        let dimension = self.place.dimension(&self.place.absolute(request.folder)?)?;
        let vectors = vector_type(dimension)
            .ok_or_else(|| plan_datafusion_err!("{NAME}: vectors of {dimension} values are too long for a column"))?;
        Ok(Arc::new(Field::new(NAME, vectors, true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [text, names @ ..] = types else { return plan_err!("{NAME} has a text and the folder of a model") };
        if names.is_empty() || names.len() > 2 {
            return plan_err!(
                "{NAME} has a text, the folder of a model and perhaps a precision, not {} arguments",
                types.len()
            );
        }
        if !(text.is_string() || text.is_null()) {
            return plan_err!("{NAME} takes texts, not {text}");
        }
        // Names stay as they are, so that they are found before casts are made.
        Ok(std::iter::once(DataType::Utf8).chain(names.iter().cloned()).collect())
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(Expr::Literal(name, _)) = args.get(1) else { return Ok(ExprSimplifyResult::Original(args)) };
        let folder = name.try_as_str().flatten().unwrap_or_default();
        if Path::new(folder).is_absolute() {
            return Ok(ExprSimplifyResult::Original(args));
        }
        args[1] = lit(self.place.absolute(folder)?.to_string_lossy().into_owned());
        Ok(ExprSimplifyResult::Simplified(Self::at(Arc::clone(&self.place)).call(args)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Place::Worker(encoders) = self.place.as_ref() else {
            // Planners go on with the call as it is.
            return exec_err!("{NAME} is run by workers");
        };
        let values: Vec<Option<&ScalarValue>> = args.args.iter().map(constant).collect();
        let request = Request::new(&values)?;
        let encoder = encoders.get(&self.place.absolute(request.folder)?, request.precision)?;
        if Some(args.return_type()) != vector_type(encoder.dimension()).as_ref() {
            let (folder, planned, found) = (request.folder, args.return_type(), encoder.dimension());
            let what = format!("{NAME}: {folder}: vectors have {found} values, but the job was planned for {planned}");
            return Err(TaskError::Fatal(what).into());
        }
        match args.args.first() {
            Some(ColumnarValue::Scalar(text)) => {
                encoder.constant(text.try_as_str().flatten()).map(ColumnarValue::Scalar)
            }
            Some(ColumnarValue::Array(texts)) => {
                let texts = cast(texts, &DataType::Utf8)?;
                encoder.column(texts.as_string()).map(ColumnarValue::Array)
            }
            None => exec_err!("{NAME} has a text and the folder of a model"),
        }
    }
}

fn constant(value: &ColumnarValue) -> Option<&ScalarValue> {
    match value {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(_) => None,
    }
}
