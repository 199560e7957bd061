/**
 * Responses of the API, limited to the fields that the pages use. Only the type checker reads this file.
 *
 * @typedef {Record<string, Record<string, number>>} Counts images by split and class
 * @typedef {{ id: string, name: string, open: boolean, classes: string[], version: string, counts: Counts, images: number, bytes: number, unlabelled: number, created_at: string }} Dataset
 * @typedef {{ id: string, file_name: string, label: string, split: string, width: number, height: number, bytes: number, sha256: string }} Image
 * @typedef {{ added: number, duplicates: number, rejected: { file: string, code: string, detail: string }[], rejected_total: number,
 *   ignored: { count: number, examples: string[] } }} UploadReport
 * @typedef {{ classes: { name: string, images: number, new: boolean }[], splits: Record<string, number>, by_content: number, not_images: number,
 *   rejected: { file: string, code: string, detail: string }[], rejected_total: number, ignored: { count: number, examples: string[] } }} Preview
 * @typedef {{ min: number, max: number, mean: number, edges: number[], counts: number[] }} Histogram
 * @typedef {{ images: number, bytes: number, counts: Counts, width: Histogram | null, height: Histogram | null, formats: Record<string, number>,
 *   cross_split_duplicates: { count: number, groups: { fingerprint: string, images: Image[] }[] } }} Statistics
 * @typedef {Record<string, any>} Params
 * @typedef {{ name: string, title: string, description: string, kind: "integer" | "number" | "choice" | "job", minimum?: number, exclusive_minimum?: number,
 *   maximum?: number, choices?: string[], default: number | string | null, excluded_by: string | null }} Parameter
 * @typedef {{ seconds: number, basis: "jobs" | "model" }} Estimate duration of a job on this server
 * @typedef {{ recipe: string, base: string | null, summary: string, params: Params, parameters: Parameter[],
 *   recommended: boolean, use_when: string, estimate: Estimate | null }} Recipe
 * @typedef {{ needed: number | null, available: number | null }} Need bytes
 * @typedef {{ fits: boolean, problems: { code: string, detail: string }[], warnings: { code: string, detail: string }[], seconds_per_epoch: number | null,
 *   epochs: number, seconds: number | null, queue_seconds: number | null, ends_at: string | null, memory: Need, disk: Need,
 *   probe: { device: string | null, precision: string | null, images: number, steps: number, seconds: number } }} JobEstimate what a job would need
 * @typedef {{ phase: string, epoch: number, epochs: number, step: number, steps: number, eta_seconds: number | null, images_per_second?: number }} Progress `images_per_second` is computed by the page
 * @typedef {{ epoch: number, train_loss: number, train_accuracy: number, val_loss: number, val_accuracy: number, learning_rate: number, seconds: number, images_per_second: number }} Epoch
 * @typedef {{ id: string, name: string, recipe: string, dataset: string, dataset_version: string, params: Params, status: string, progress: Progress | null,
 *   best: { epoch: number, val_loss: number, val_accuracy: number } | null, device: string | null, precision: string | null, attempts: number,
 *   error: { code: string, detail: string } | null, model_id: string | null, service: Service | null, placement?: Placement | null, created_at: string, started_at: string | null, finished_at: string | null }} Job
 * @typedef {{ executor: "ray" | "slurm", state: "submitting" | "waiting" | "running" | "ended", attempt: string, id: string | null, node: string | null, url: string | null, message: string | null }} Placement
 * @typedef {{ decision: "in_service" | "kept" | "guessing" | "pinned", reason: string }} Service
 * @typedef {{ precision: number, recall: number, f1: number, support: number }} ClassScore
 * @typedef {{ image_id: string, file_name: string | null, label: string, predicted: string, probability: number }} Misclassified
 * @typedef {{ precision: number[], recall: number[], auc: number, average_precision: number }} PrCurve
 * @typedef {{ fpr: number[], tpr: number[], auc: number | null }} RocCurve
 * @typedef {{ pr_curve: PrCurve, roc_curve: RocCurve }} BothCurves
 * @typedef {{ classes: (BothCurves & { label: string })[], micro: BothCurves, macro: { roc_auc: number | null, average_precision: number } }} OneVsRest
 * @typedef {{ log_loss: number, brier_score: number, expected_calibration_error: number,
 *   bins: { count: number, mean_confidence: number | null, accuracy: number | null }[] }} Reliability
 * @typedef {{ expected_calibration_error: number, bins: { low: number, high: number, count: number, mean_predicted_probability: number | null, fraction_of_positives: number | null }[],
 *   temperature?: number | null, scaled?: Reliability | null, raw?: Reliability | null }} Calibration `scaled`: as the model answers; `raw`: without the temperature
 * @typedef {{ threshold: number, answered: number, accuracy: number }} CoveragePoint
 * @typedef {{ answer_above: number | null, unlike_above: number | null, low_confidence: number, unlike_training: number, answered_accuracy: number | null }} UnsureReport
 * @typedef {{ confidence: number, low: number, high: number }} Interval
 * @typedef {{ folds: number, count: number, correct: number, accuracy: number, accuracy_interval: Interval }} CrossValidation
 * @typedef {{ split: string, count: number, loss: number, accuracy: number, accuracy_interval: Interval, threshold: number | null,
 *   top_5_accuracy?: number | null, confusion_matrix: { labels: string[], matrix: number[][] }, report: Record<string, ClassScore>,
 *   pr_curve: PrCurve | null, roc_curve: RocCurve | null, one_vs_rest?: OneVsRest | null, calibration: Calibration,
 *   best_threshold: { threshold: number, validation_f1: number, loss: number, accuracy: number } | null, coverage?: CoveragePoint[], unsure?: UnsureReport | null,
 *   cross_validation?: CrossValidation | null, class_weights?: Record<string, number> | null, misclassified: Misclassified[] }} Evaluation evaluations of older versions lack some members
 * @typedef {{ id: string, name: string, recipe: string, architecture: string, classes: string[], job_id: string | null, dataset: string, dataset_version: string,
 *   val_loss: number, val_accuracy: number, test_accuracy: number | null, parameters: number, bytes: number, created_at: string,
 *   answer_above: number | null, unlike_above: number | null, in_service: boolean }} Model
 * @typedef {Model & { mode: "best" | "pinned", pinned_model: string | null, since: string }} CurrentModel
 * @typedef {{ name: string, model_id: string, model: string, updated_at: string }} Alias
 * @typedef {{ id: number, at: string, event: "selected" | "pinned" | "unpinned" | "rolled_back" | "alias_set" | "alias_removed", alias: string | null,
 *   from: { id: string, name: string, pinned: boolean } | null, to: { id: string, name: string, pinned: boolean } | null,
 *   by: { kind: "job" | "token" | "operator" | "anonymous" | "server", id?: string, name?: string } }} HistoryEntry
 * @typedef {{ model: string, cpu_fraction: number, started_at: string, images: number, agreed: number, failed: number, dropped: number, cpu_seconds: number,
 *   agreement: number | null, error: string | null }} Shadow
 * @typedef {{ at: string, sha256: string, model: string, label: string, probability: number, shadow_label: string, shadow_probability: number }} ShadowDifference
 * @typedef {{ id: string, name: string, accuracy: number, accuracy_interval: Interval, log_loss: number, trained_on: number | null }} ComparedModel
 * @typedef {{ value: number, interval: Interval }} Difference
 * @typedef {{ job: string, dataset: string, count: number, missing: number, first: ComparedModel, second: ComparedModel,
 *   both_correct: number, only_first: number, only_second: number, both_wrong: number, accuracy_difference: Difference, p_value: number,
 *   verdict: "better" | "worse" | "inconclusive", images_needed: number | null, log_loss_difference: Difference, summary: string[], differing: number,
 *   differences: { image_id: string, file_name: string | null, label: string, first: { label: string, probability: number }, second: { label: string, probability: number } }[] }} Comparison
 * @typedef {{ file_name: string | null, label: string, probability: number, probabilities: Record<string, number>, unsure?: boolean, reason?: "low_confidence" | "unlike_training" }} Prediction
 * @typedef {{ predictions: Prediction[],
 *   model: { id: string, name: string, recipe: string }, timing_ms: { decode: number, queue: number, inference: number, total: number } }} PredictResponse
 * @typedef {{ base: string, state: "shipped" | "absent" | "downloading" | "ready", source: string | null, sha256: string | null, preprocessing: string | null,
 *   downloaded_bytes: number | null, total_bytes: number | null, error: { code: string, detail: string } | null }} Weights
 * @typedef {{ id: string, file_name: string, label: string | null, split: string | null, width: number, height: number }} ReviewImage
 * @typedef {{ image: ReviewImage, probability?: number, suggested?: string | null, suggested_probability?: number, reasons?: string[], distance?: number, margin?: number }} ReviewItem of any list but that of duplicates
 * @typedef {{ out_of_date: boolean, computed_at: string, seconds: number, labelled: number, unlabelled: number, unreadable: number, estimated_wrong: number,
 *   mislabelled: number, duplicates: number, duplicates_across_splits: number, outliers: number,
 *   curve: { labels: number[], chosen: number[], random: number[], tested: { split: string, images: number } | null } | null }} ReviewSummary
 * @typedef {{ status: string, progress: { phase: string, done: number, total: number } | null, error: { code: string, detail: string } | null, result: ReviewSummary | null }} ReviewState
 * @typedef {{ classes: string[], images: string[], x: number[], y: number[], labels: (number | null)[], mislabelled: number[] }} ReviewMap
 * @typedef {{ count: number, correct: number, accuracy: number | null, interval: Interval }} FeedbackAccuracy
 * @typedef {{ id: string, name: string, classes: string[], predictions: number, unsure: number, feedback: FeedbackAccuracy, sure_feedback: FeedbackAccuracy }} LoggedModelSummary
 * @typedef {{ log: { enabled: boolean, photos: boolean, days: number, max: number, photo_bytes: number }, models: LoggedModelSummary[] }} PredictionSummary
 * @typedef {{ id: string, created_at: string, model: { id: string, name: string }, file_name: string | null, label: string, probability: number,
 *   probabilities: Record<string, number> | null, unsure: boolean, reason: "low_confidence" | "unlike_training" | null, distance: number | null,
 *   timing_ms: { total: number }, token: string | null, photo: boolean, feedback: { label: string, by: string | null, at: string } | null }} LoggedPrediction
 * @typedef {"too_few" | "stable" | "moderate" | "drift"} Verdict
 * @typedef {{ predictions: number, verdict: Verdict, unsure: { fraction: number, reference: number | null } | null,
 *   classes: { fractions: Record<string, number>, reference: Record<string, number> | null, psi: number | null } | null,
 *   distance: { mean: number, far: number, far_reference: number, psi: number } | null }} DriftFigures
 * @typedef {DriftFigures & { detail: string, buckets: DriftFigures[] }} Drift
 */
export {};
