/**
 * Responses of the API, limited to the fields that the pages use. Only the type checker reads this file.
 *
 * @typedef {Record<string, Record<string, number>>} Counts images by split and class
 * @typedef {{ id: string, name: string, classes: string[], version: string, counts: Counts, images: number, bytes: number, created_at: string }} Dataset
 * @typedef {{ id: string, file_name: string, label: string, split: string, width: number, height: number, bytes: number, sha256: string }} Image
 * @typedef {{ added: number, duplicates: number, rejected: { file: string, code: string, detail: string }[], rejected_total: number,
 *   ignored: { count: number, examples: string[] } }} UploadReport
 * @typedef {{ min: number, max: number, mean: number, edges: number[], counts: number[] }} Histogram
 * @typedef {{ images: number, bytes: number, counts: Counts, width: Histogram | null, height: Histogram | null, formats: Record<string, number>,
 *   cross_split_duplicates: { count: number, groups: { fingerprint: string, images: Image[] }[] } }} Statistics
 * @typedef {Record<string, any>} Params
 * @typedef {{ name: string, title: string, description: string, kind: "integer" | "number" | "choice" | "job", minimum?: number, exclusive_minimum?: number,
 *   maximum?: number, choices?: string[], default: number | string | null, excluded_by: string | null }} Parameter
 * @typedef {{ recipe: string, base: string | null, summary: string, params: Params, parameters: Parameter[] }} Recipe
 * @typedef {{ phase: string, epoch: number, epochs: number, step: number, steps: number, eta_seconds: number | null, images_per_second?: number }} Progress `images_per_second` is computed by the page
 * @typedef {{ epoch: number, train_loss: number, train_accuracy: number, val_loss: number, val_accuracy: number, learning_rate: number, seconds: number, images_per_second: number }} Epoch
 * @typedef {{ id: string, name: string, recipe: string, dataset: string, dataset_version: string, params: Params, status: string, progress: Progress | null,
 *   best: { epoch: number, val_loss: number, val_accuracy: number } | null, device: string | null, precision: string | null, attempts: number,
 *   error: { code: string, detail: string } | null, model_id: string | null, service: Service | null, created_at: string, started_at: string | null, finished_at: string | null }} Job
 * @typedef {{ decision: "in_service" | "kept" | "guessing" | "pinned", reason: string }} Service
 * @typedef {{ precision: number, recall: number, f1: number, support: number }} ClassScore
 * @typedef {{ image_id: string, file_name: string | null, label: string, predicted: string, probability: number }} Misclassified
 * @typedef {{ split: string, count: number, loss: number, accuracy: number, accuracy_interval: { confidence: number, low: number, high: number }, threshold: number,
 *   confusion_matrix: { labels: string[], matrix: number[][] }, report: Record<string, ClassScore>,
 *   pr_curve: { precision: number[], recall: number[], auc: number, average_precision: number }, roc_curve: { fpr: number[], tpr: number[], auc: number | null },
 *   calibration: { expected_calibration_error: number, bins: { low: number, high: number, count: number, mean_predicted_probability: number | null, fraction_of_positives: number | null }[] },
 *   best_threshold: { threshold: number, validation_f1: number, loss: number, accuracy: number } | null, misclassified: Misclassified[] }} Evaluation
 * @typedef {{ id: string, name: string, recipe: string, architecture: string, classes: string[], job_id: string | null, dataset: string, dataset_version: string,
 *   val_loss: number, val_accuracy: number, test_accuracy: number | null, parameters: number, bytes: number, created_at: string, in_service: boolean }} Model
 * @typedef {Model & { mode: "best" | "pinned", since: string }} CurrentModel
 * @typedef {{ predictions: { file_name: string | null, label: string, probability: number, probabilities: Record<string, number> }[],
 *   model: { id: string, name: string, recipe: string }, timing_ms: { decode: number, queue: number, inference: number, total: number } }} PredictResponse
 * @typedef {{ base: string, state: "shipped" | "absent" | "downloading" | "ready", source: string | null, sha256: string | null, preprocessing: string | null,
 *   downloaded_bytes: number | null, total_bytes: number | null, error: { code: string, detail: string } | null }} Weights
 */
export {};
