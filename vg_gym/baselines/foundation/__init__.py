"""Foundation models: open-vocabulary detectors and vision-language models, through transformers and ultralytics."""
