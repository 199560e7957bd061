//! Which scope each route needs.

use std::collections::BTreeMap;

use axum::body::Body;

use super::{OPERATOR, ask, create, guarded};

/// What each operation needs: `settings` is a token of the settings. A new route must be added here.
const REQUIRED: &str = "
    predict   POST    /predict
    predict   POST    /explain
    predict   GET     /v2
    predict   GET     /v2/health/live
    predict   GET     /v2/health/ready
    predict   GET     /v2/models/{model}
    predict   GET     /v2/models/{model}/ready
    predict   POST    /v2/models/{model}/infer
    read      GET     /system
    read      GET     /recipes
    read      GET     /metrics
    read      GET     /datasets
    write     POST    /datasets
    read      GET     /datasets/{dataset}
    write     DELETE  /datasets/{dataset}
    write     POST    /datasets/{dataset}/classes
    write     PATCH   /datasets/{dataset}/classes/{class}
    write     DELETE  /datasets/{dataset}/classes/{class}
    write     POST    /datasets/{dataset}/split
    read      GET     /datasets/{dataset}/statistics
    read      GET     /datasets/{dataset}/charts/{chart}
    read      GET     /datasets/{dataset}/augmentations
    read      GET     /datasets/{dataset}/review
    write     POST    /datasets/{dataset}/review
    write     DELETE  /datasets/{dataset}/review
    read      GET     /datasets/{dataset}/review/mislabelled
    read      GET     /datasets/{dataset}/review/duplicates
    read      GET     /datasets/{dataset}/review/outliers
    read      GET     /datasets/{dataset}/review/unlabelled
    read      GET     /datasets/{dataset}/review/map
    write     POST    /datasets/{dataset}/review/decisions
    write     POST    /datasets/{dataset}/review/join
    read      GET     /datasets/{dataset}/images
    write     POST    /datasets/{dataset}/images
    read      POST    /datasets/{dataset}/layout
    write     POST    /datasets/{dataset}/archive
    write     PATCH   /datasets/{dataset}/images/{image}
    write     DELETE  /datasets/{dataset}/images/{image}
    read      GET     /images/{image}
    read      GET     /images/{image}/thumbnail
    read      GET     /jobs
    write     POST    /jobs
    read      GET     /jobs/{job}
    write     DELETE  /jobs/{job}
    read      GET     /jobs/{job}/metrics
    read      GET     /jobs/{job}/events
    read      GET     /jobs/{job}/log
    read      GET     /jobs/{job}/evaluation
    read      GET     /jobs/{job}/charts/{chart}
    write     POST    /jobs/{job}/cancel
    write     POST    /jobs/{job}/stop
    write     POST    /jobs/{job}/resume
    read      GET     /models
    write     POST    /models
    read      GET     /models/current
    write     PUT     /models/current
    read      GET     /models/history
    write     POST    /models/rollback
    read      GET     /models/shadow
    write     PUT     /models/shadow
    write     DELETE  /models/shadow
    read      GET     /models/shadow/differences
    read      GET     /models/{model}
    write     PATCH   /models/{model}
    write     DELETE  /models/{model}
    read      GET     /models/{model}/compare
    write     DELETE  /models/{model}/compare
    read      GET     /models/{model}/coverage
    read      GET     /models/{model}/download
    read      GET     /models/{model}/export
    read      GET     /models/{model}/report
    read      GET     /aliases
    write     PUT     /aliases/{alias}
    write     DELETE  /aliases/{alias}
    write     POST    /aliases/{alias}/rollback
    read      GET     /predictions
    write     DELETE  /predictions
    read      GET     /predictions/summary
    read      GET     /predictions/drift
    read      GET     /predictions/{prediction}
    write     DELETE  /predictions/{prediction}
    read      GET     /predictions/{prediction}/photo
    predict   POST    /predictions/{prediction}/feedback
    predict   DELETE  /predictions/{prediction}/feedback
    write     POST    /predictions/{prediction}/image
    read      GET     /weights
    read      GET     /weights/{base}
    write     PUT     /weights/{base}
    write     POST    /weights/{base}/download
    settings  GET     /tokens
    settings  POST    /tokens
    settings  DELETE  /tokens/{token}
    settings  GET     /webhooks
    settings  POST    /webhooks
    settings  GET     /webhooks/{webhook}
    settings  DELETE  /webhooks/{webhook}
    settings  POST    /webhooks/{webhook}/test
    settings  GET     /webhooks/{webhook}/deliveries
";

/// Routes that are not in the document: they are others by a longer path.
const UNDOCUMENTED: [(&str, &str); 3] = [
    ("GET", "/v2/models/{model}/versions/{version}"),
    ("GET", "/v2/models/{model}/versions/{version}/ready"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"),
];

#[tokio::test]
async fn every_route_has_a_scope_and_lets_nobody_in_without_it() {
    let server = guarded().await;
    let required: BTreeMap<_, _> = REQUIRED
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let [scope, method, path] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            ((method.to_owned(), path.to_owned()), scope)
        })
        .collect();
    let mut documented = BTreeMap::new();
    let document = server.get("/openapi.json").await.ok();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(security) = operation["security"].as_array() else {
                let public = ["/", "/healthz", "/readyz", "/docs", "/openapi.json"];
                assert!(public.contains(&path.as_str()), "{method} {path} needs no token");
                continue;
            };
            let scope = security[0]["token"][0].as_str().unwrap_or("settings").to_owned();
            documented.insert((method.to_uppercase(), path.clone()), scope);
        }
    }
    let table: BTreeMap<_, _> = required
        .iter()
        .map(|(operation, scope)| (operation.clone(), (*scope).to_owned()))
        .collect();
    assert_eq!(documented, table, "the documented scopes are those of the table");

    let mut callers = vec![("settings", OPERATOR.to_owned())];
    for scope in ["predict", "read", "write"] {
        callers.push((scope, create(&server, scope, &[scope]).await));
    }
    let undocumented =
        UNDOCUMENTED.map(|(method, path)| ((method.to_owned(), path.to_owned()), "predict"));
    for ((method, path), scope) in required.into_iter().chain(undocumented) {
        let uri = path.replace(['{', '}'], "");
        let answer = ask(&server, None, &method, &uri, Body::empty()).await;
        answer.problem(401, "unauthorized");
        ask(&server, Some("wrong"), &method, &uri, Body::empty())
            .await
            .problem(401, "unauthorized");
        for (caller, secret) in &callers {
            let answer = ask(&server, Some(secret), &method, &uri, Body::empty()).await;
            if *caller == scope || *caller == "settings" {
                let text = String::from_utf8_lossy(&answer.body);
                assert!(
                    ![401, 403].contains(&answer.status.as_u16()),
                    "{caller} {method} {path}: {text}"
                );
            } else {
                let problem = answer.problem(403, "forbidden");
                let detail = problem["detail"].as_str().unwrap();
                let named = if scope == "settings" { "settings" } else { scope };
                assert!(detail.contains(named), "{detail}");
            }
        }
    }
    // What does not exist is nothing to keep from somebody with a token.
    ask(&server, None, "GET", "/nope", Body::empty()).await.problem(401, "unauthorized");
    let answer = ask(&server, Some(&callers[1].1), "GET", "/nope", Body::empty()).await;
    answer.problem(404, "not_found");
}
