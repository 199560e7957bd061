//! `/recipes`: what they do, when to take which, and how long they take.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Json, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::{
        base::Base,
        estimate::Estimate,
        parameters::{Kind, PARAMETERS, Parameter, Params},
        recipe::Recipe,
    },
    storage::Page,
};

/// A recipe with its default parameters.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeInfo {
    recipe: Recipe,
    /// The pretrained network that it builds on, or null; see `GET /weights`.
    base: Option<&'static str>,
    summary: String,
    /// Whether to take it if in doubt: true for one recipe, the default.
    recommended: bool,
    /// When to take it: one sentence.
    use_when: &'static str,
    /// Estimated duration of a job with default parameters on `dataset`; null without it, without
    /// images in it, or if nothing is known about the speed of this machine.
    estimate: Option<Estimate>,
    /// Default values.
    params: Params,
    /// Parameters that a job can set, in the order of a form.
    parameters: Vec<ParameterInfo>,
}

/// A training parameter of a recipe.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Parameter)]
pub struct ParameterInfo {
    /// Name in `params`.
    name: &'static str,
    /// Label for a form.
    title: &'static str,
    /// Description, without a full stop at the end.
    description: &'static str,
    #[serde(flatten)]
    kind: Kind,
    /// Default value; null if there is none.
    default: Value,
    /// Parameter that replaces this one if it is set, or null.
    excluded_by: Option<&'static str>,
}

impl ParameterInfo {
    fn of(recipe: Recipe) -> Vec<Self> {
        let taken = PARAMETERS.iter().filter(|parameter| (parameter.applies_to)(recipe));
        taken
            .map(|parameter| {
                let Parameter { name, title, description, kind, excluded_by, .. } = *parameter;
                let default = parameter.default(recipe);
                Self { name, title, description, kind, default, excluded_by }
            })
            .collect()
    }
}

/// `?dataset=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecipesQuery {
    /// The dataset (name or id) to estimate durations for.
    dataset: Option<String>,
}

/// List the recipes with their default parameters, the recommended one first
///
/// With `dataset`, each has the estimated duration of a job on it.
#[utoipa::path(get, path = "", params(RecipesQuery), responses((status = 200, description = "All recipes, on one page.", body = Page<RecipeInfo>)))]
pub async fn recipes(
    State(state): State<AppState>,
    Query(query): Query<RecipesQuery>,
) -> Result<Json<Page<RecipeInfo>>, Problem> {
    let outlook = match &query.dataset {
        Some(dataset) => Some(state.scheduler.outlook(&state.datasets.get(dataset).await?).await?),
        None => None,
    };
    let items = Recipe::ALL.map(|recipe| RecipeInfo {
        recipe,
        base: recipe.base().map(Base::id),
        summary: recipe.summary(),
        recommended: recipe == Recipe::DEFAULT,
        use_when: recipe.use_when(),
        estimate: outlook.as_ref().and_then(|outlook| outlook.estimate(recipe)),
        params: Params::defaults(recipe),
        parameters: ParameterInfo::of(recipe),
    });
    Ok(Json(Page { items: items.into(), next_cursor: None }))
}
